/* Pages of folders as servers make them, and as nobody should. */
#include "source/index_page.h"

#include "test.h"

struct got {
    struct buf text;
    int n, stop_at;
};

static int take(void *arg, const struct index_link *l, struct err *err)
{
    struct got *g = arg;
    (void)err;
    buf_addf(&g->text, "%.*s|%lld|%lld|%s\n", (int)l->path.n, l->path.p, (long long)l->size, (long long)l->mtime_ms, l->version);
    return ++g->n == g->stop_at;
}

static int read_page(const char *folder, struct str page, size_t step, struct got *g, struct err *err)
{
    struct index_page *p = index_page_new("http://h:80", str_of(folder), take, g);
    int rc = 0;
    buf_reset(&g->text);
    buf_adds(&g->text, "");
    g->n = 0;
    for (size_t at = 0; rc == 0 && at < page.n; at += step)
        rc = index_page_add(p, (struct str){ page.p + at, step < page.n - at ? step : page.n - at }, err);
    if (rc == 0)
        rc = index_page_end(p, err);
    index_page_free(p);
    return rc;
}

/* The links of the page, which are the same however it is cut. */
static const char *links(const char *folder, const char *page)
{
    static struct got g;
    static char whole[4096];
    struct err err;
    CHECK_OK(read_page(folder, str_of(page), 1 << 20, &g, &err), err);
    snprintf(whole, sizeof whole, "%s", g.text.p);
    for (size_t step = 1; step < 8; step++) {
        CHECK_OK(read_page(folder, str_of(page), step, &g, &err), err);
        CHECK_STR(g.text.p, whole);
    }
    return whole;
}

TEST(index_page, nginx)
{
    CHECK_STR(links("/d/", "<html>\r\n<head><title>Index of /d/</title></head>\r\n<body>\r\n<h1>Index of /d/</h1><hr><pre><a href=\"../\">../</a>\r\n"
                           "<a href=\"sub/\">sub/</a>                                               21-Nov-2026 12:01                   -\r\n"
                           "<a href=\"a%20b%25%27%22%3C.csv\">a b%'&quot;&lt;.csv</a>              21-Nov-2026 12:01                 123\r\n"
                           "<a href=\"%C3%A9.csv\">\xc3\xa9.csv</a>                                21-Nov-2026 12:02                1.2K\r\n"
                           "</pre><hr></body>\r\n</html>\r\n"),
              "/d/sub/|-1|0|21-Nov-2026 12:01\n/d/a b%'\"<.csv|123|0|21-Nov-2026 12:01\n/d/\xc3\xa9.csv|-1|0|21-Nov-2026 12:02 1.2K\n");
    CHECK_STR(links("/d/", "[\r\n{ \"name\":\"sub\", \"type\":\"directory\", \"mtime\":\"Sat, 21 Nov 2026 12:01:02 GMT\" },\r\n"
                           "{ \"name\":\"a \\\"b]{.csv\", \"type\":\"file\", \"mtime\":\"Sat, 21 Nov 2026 12:01:02 GMT\", \"size\":5 }\r\n]"),
              "/d/sub/|-1|1795262462000|\n/d/a \"b]{.csv|5|1795262462000|\n");
    CHECK_STR(links("/d/", "[\r\n]\r\n"), "");
}

TEST(index_page, apache)
{
    CHECK_STR(links("/d/", "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 3.2 Final//EN\">\n<html><head><title>Index of /d</title></head><body>\n<h1>Index of /d</h1>\n"
                           "<pre><img src=\"/icons/blank.gif\" alt=\"Icon \"> <a href=\"?C=N;O=D\">Name</a>   <a href=\"?C=M;O=A\">Last modified</a>      "
                           "<a href=\"?C=S;O=A\">Size</a>  <a href=\"?C=D;O=A\">Description</a><hr><img src=\"/icons/back.gif\" alt=\"[PARENTDIR]\"> "
                           "<a href=\"/\">Parent Directory</a>                             -   \n"
                           "<img src=\"/icons/unknown.gif\" alt=\"[   ]\"> <a href=\"a.csv\">a.csv</a>                   2026-11-21 12:01  123   \n"
                           "<img src=\"/icons/unknown.gif\" alt=\"[   ]\"> <a href=\"big.csv\">big.csv</a>               2026-11-21 12:01  1.2M  a b\n"
                           "<hr></pre>\n</body></html>\n"),
              "/d/a.csv|123|0|2026-11-21 12:01\n/d/big.csv|-1|0|2026-11-21 12:01 1.2M\n");
    /* HTMLTable and IconsAreLinks */
    CHECK_STR(links("/d/", "<table><tr><td valign=\"top\"><a href=\"a.csv\"><img src=\"/icons/text.gif\" alt=\"[TXT]\"></a></td><td><a href=\"a.csv\">a.csv</a></td>"
                           "<td align=\"right\">2026-11-21 12:01  </td><td align=\"right\"> 12 </td><td>&nbsp;</td></tr></table>"),
              "/d/a.csv|12|0|2026-11-21 12:01\n"); /* which would be two versions of it */
    CHECK_STR(links("/d/", "<ul><li><a href=\"/\"> Parent Directory</a></li>\n<li><a href=\"a.csv\"> a.csv</a></li>\n</ul>"), "/d/a.csv|-1|0|\n");
}

TEST(index_page, caddy)
{
    CHECK_STR(links("/d/", "<table aria-describedby=\"summary\"><tr class=\"file\">\n<td></td>\n<td><a href=\"./a%20b.csv\"><svg width=\"1\"><use xlink:href=\"#f\"></use></svg>"
                           "<span class=\"name\">a b.csv</span></a></td>\n<td class=\"size\" data-size=\"1234\"><div class=\"sizebar\"><div class=\"sizebar-text\">1.2 KiB</div></div></td>\n"
                           "<td class=\"timestamp hideable\"><time datetime=\"2026-11-21T12:01:02Z\">11/21/2026 12:01:02 PM +00:00</time></td></tr></table>"),
              "/d/a b.csv|1234|1795262462000|\n");
    /* 2.6 has a blank in front of the time */
    CHECK_STR(links("/d/", "<tr class=\"file\">\n<td></td>\n<td>\n<a href=\"./b%20c.csv\">\n<svg width=\"1.5em\" height=\"1em\" version=\"1.1\" viewBox=\"0 0 265 323\">\n"
                           "<use xlink:href=\"#file\"></use>\n</svg>\n<span class=\"name\">b c.csv</span>\n</a>\n</td>\n<td data-order=\"15\">15 B</td>\n"
                           "<td class=\"hideable\"><time datetime=\" 2026-11-21T12:01:02Z\">11/21/2026 12:01:02 PM +00:00</time></td>\n<td class=\"hideable\"></td>\n</tr>"),
              "/d/b c.csv|15|1795262462000|\n");
    CHECK_STR(links("/d/", "[{\"name\":\"s/\",\"size\":4096,\"url\":\"./s/\",\"mod_time\":\"2026-11-21T12:01:02.5Z\",\"mode\":2147484141,\"is_dir\":true,\"is_symlink\":false},"
                           "{\"name\":\"a.csv\",\"size\":7,\"url\":\"./a.csv\",\"mod_time\":\"2026-11-21T12:01:02.5Z\",\"mode\":420,\"is_dir\":false,\"is_symlink\":false}]"),
              "/d/s/|-1|1795262462500|\n/d/a.csv|7|1795262462500|\n");
    /* JSON has no word for bytes that are not UTF-8; the url has; one that leads elsewhere is none of it */
    CHECK_STR(links("/d/", "[{\"name\":\"\xef\xbf\xbd.csv\",\"url\":\"./%E9.csv\"},{\"name\":\"\xef\xbf\xbd\",\"is_dir\":true,\"url\":\"./%E9/\"},"
                           "{\"name\":\"b.csv\",\"url\":\"../b.csv\"},{\"name\":\"c.csv\",\"url\":\"./s/c.csv\"},{\"name\":\"d\",\"is_dir\":true,\"url\":\"https://h/d\"}]"),
              "/d/\xe9.csv|-1|0|\n/d/\xe9/|-1|0|\n/d/b.csv|-1|0|\n/d/c.csv|-1|0|\n/d/d/|-1|0|\n");
}

TEST(index_page, lighttpd_and_python)
{
    CHECK_STR(links("/d/", "<tr class=\"d\"><td class=\"n\"><a href=\"../\">..</a>/</td><td class=\"m\">&nbsp;</td><td class=\"s\">- &nbsp;</td><td class=\"t\">Directory</td></tr>\n"
                           "<tr><td class=\"n\"><a href=\"a.csv\">a.csv</a></td><td class=\"m\">2026-Nov-21 12:01:02</td><td class=\"s\">0.1K</td><td class=\"t\">text/csv</td></tr>"),
              "/d/a.csv|-1|0|2026-Nov-21 12:01:02 0.1K\n");
    CHECK_STR(links("/", "<!DOCTYPE HTML>\n<html>\n<body>\n<hr>\n<ul>\n<li><a href=\"a%26b.csv\">a&amp;b.csv</a></li>\n<li><a href=\"sub/\">sub/</a></li>\n"
                         "<li><a href=\"%FF.csv\">x</a></li></ul>\n<hr>\n</body>\n</html>\n"),
              "/a&b.csv|-1|0|\n/sub/|-1|0|\n/\xff.csv|-1|0|\n");
}

/* One link of a page in http://h:80/d/; "" where it leads nowhere that counts. */
static const char *leads(const char *href)
{
    static char out[4096];
    char page[4096];
    snprintf(page, sizeof page, "<a href=\"%s\">x</a>", href);
    snprintf(out, sizeof out, "%s", links("/d/", page));
    if (strchr(out, '|'))
        *strchr(out, '|') = 0;
    return out;
}

TEST(index_page, only_what_lies_below_the_page)
{
    static const char *const hostile[] = {
        "", ".", "./", "../", "..", "../../etc/passwd", "/", "/d/", "/d", "/e/a.csv", "/dd/a.csv", "/d/../a.csv", "a/../../b", "a/./b", "%2e%2e/a.csv", "a/%2e%2e/b",
        "%2E%2E", "a%2fb", "a%2F..%2Fb", "a%00b", "a%0", "a%zz", "//evil/a.csv", "///a.csv", "http://evil/d/a.csv", "http://h:80.evil/d/a.csv", "http://h:80@evil/d/a.csv",
        "https://h:80/d/a.csv", "javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", "mailto:a@b", "?C=N;O=D", "#top", "a.csv?token=1", "a.csv#x",
        "\\\\evil\\a.csv", "a\nb", "java&#115;cript:x", "&#46;&#46;/a.csv", "d//", "a//b", "file:///etc/passwd", "a&#0;b",
    };
    for (size_t i = 0; i < COUNT_OF(hostile); i++) {
        const char *to = leads(hostile[i]);
        bool as_named = !strcmp(hostile[i], "a&#0;b");
        if (*to && !as_named)
            fail_msg("'%s' leads to '%s'", hostile[i], to);
    }
    CHECK_STR(leads("a.csv"), "/d/a.csv");
    CHECK_STR(leads("./a.csv"), "/d/a.csv");
    CHECK_STR(leads("/d/a.csv"), "/d/a.csv");
    CHECK_STR(leads("/%64/a.csv"), "/d/a.csv");
    CHECK_STR(leads("sub/a.csv"), "/d/sub/a.csv");
    CHECK_STR(leads("http://h:80/d/a.csv"), "/d/a.csv");
    CHECK_STR(leads("HTTP://H:80/d/a.csv"), "/d/a.csv");
    CHECK_STR(leads("..a"), "/d/..a");
    CHECK_STR(leads("a&#x2D;&amp;&unknown;b"), "/d/a-&&unknown;b");
}

TEST(index_page, odd_html)
{
    CHECK_STR(links("/", "<!-- <a href=\"no1\"> -- > --><A\nHREF = 'a>b'>x</A><a class=x href=c>y</a><a title=\"href=d\" href=e>"),
              "/a>b|-1|0|\n/c|-1|0|\n/e|-1|0|\n");
    CHECK_STR(links("/", "<script>var x = '<a href=\"no\">' </scripty</script ><style><a href=no></style><a href=yes>"), "/yes|-1|0|\n");
    CHECK_STR(links("/", "1 < 2 <a href=x>< 3</a><abbr href=no><a name=no><link href=no>"), "/x|-1|0|\n");
    CHECK_STR(links("/", "<!----><a href=x>y</a><!-- --->"), "/x|-1|0|\n");
    CHECK_STR(links("/", "<a href=x>y</a> 99-Nov-2026 12:01 5<a href=z>y</a> yesterday 5"), "/x|-1|0|\n/z|-1|0|\n");
    CHECK_STR(links("/", "\xef\xbb\xbf<p>"), "");
}

TEST(index_page, a_name_that_json_cannot_say_is_left_out)
{
    static const char page[] = "[{\"name\":\"a\"},{\"name\":\"\xff\"},{\"name\":\"z\"}]";
    CHECK_STR(links("/", page), "/a|-1|0|\n/z|-1|0|\n");
    struct got g = { 0 };
    struct index_page *p = index_page_new("http://h:80", STR("/"), take, &g);
    struct err err;
    CHECK(p);
    CHECK_EQ(index_page_add(p, str_of(page), &err), 0);
    CHECK_EQ(index_page_end(p, &err), 0);
    CHECK_EQ(index_page_skipped(p), 1);
    index_page_free(p);
    buf_clear(&g.text);
}

TEST(index_page, what_is_no_page_is_refused)
{
    static const struct {
        struct str page;
        enum err_code code;
    } bad[] = {
        { { "", 0 }, ERR_FORMAT },
        { { "a,b\n1,2\n", 8 }, ERR_FORMAT },
        { { "{\"error\":1}", 11 }, ERR_FORMAT },
        { { "[1,2]", 5 }, ERR_FORMAT },
        { { "[{\"nome\":1}]", 12 }, ERR_FORMAT },
        { { "[{\"name\":\"x\"", 12 }, ERR_TRUNCATED },
        { { "[{\"name\":\"x\"}", 13 }, ERR_TRUNCATED },
        { { "\xff\xfe<\0a\0", 6 }, ERR_ENCODING },
        { { "<\0a\0", 4 }, ERR_FORMAT },
        { { "<html><a href=\"x", 16 }, ERR_TRUNCATED },
        { { "<html><!-- x", 12 }, ERR_TRUNCATED },
    };
    struct got g = { 0 };
    struct err err;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        CHECK_EQ(read_page("/", bad[i].page, 3, &g, &err), -1);
        CHECK_STR(err_name(err.code), err_name(bad[i].code));
    }
    buf_clear(&g.text);
}

TEST(index_page, memory_does_not_grow_with_the_page)
{
    struct got g = { 0 };
    struct err err;
    static char tag[1 << 20];
    memset(tag, 'x', sizeof tag);
    struct index_page *p = index_page_new("http://h:80", STR("/"), take, &g);
    CHECK_OK(index_page_add(p, STR("<p>"), &err), err);
    for (int i = 0; i < 64; i++) /* text that never ends */
        CHECK_OK(index_page_add(p, (struct str){ tag, sizeof tag }, &err), err);
    CHECK_OK(index_page_add(p, STR("<a href="), &err), err);
    CHECK_EQ(index_page_add(p, (struct str){ tag, sizeof tag }, &err), -1);
    CHECK_EQ(err.code, ERR_LIMIT);
    index_page_free(p);
    p = index_page_new("http://h:80", STR("/"), take, &g);
    CHECK_OK(index_page_add(p, STR("[{\"name\":\""), &err), err);
    CHECK_EQ(index_page_add(p, (struct str){ tag, sizeof tag }, &err), -1);
    CHECK_EQ(err.code, ERR_LIMIT);
    index_page_free(p);
    CHECK_EQ(g.n, 0);
}

TEST(index_page, ends_when_somebody_has_enough)
{
    struct got g = { .stop_at = 2 };
    struct err err;
    CHECK_EQ(read_page("/", STR("<a href=1><a href=2><a href=3><a href=4>"), 1, &g, &err), 1);
    CHECK_STR(g.text.p, "/1|-1|0|\n/2|-1|0|\n");
    CHECK_EQ(read_page("/", STR("[{\"name\":\"1\"},{\"name\":\"2\"},{\"name\":\"3\"}]"), 1, &g, &err), 1);
    CHECK_EQ(g.n, 2);
    buf_clear(&g.text);
}
