/* How objects travel to the reader: what is in memory stays within its bound however far the child is behind. */
#include "test.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "role/feed.h"

enum { OBJECTS = 8, OBJECT_BYTES = 8 << 20 };

/* ---- an HTTP server whose answer is always an object that begins like a zip, and is none ---- */

static pid_t server;

static int server_listen(int *port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&at, n) == 0 && listen(fd, 8) == 0);
    CHECK_EQ(getsockname(fd, (struct sockaddr *)&at, &n), 0);
    *port = ntohs(at.sin_port);
    return fd;
}

static void server_answer(int fd)
{
    static char request[4096], body[OBJECT_BYTES] = "PK\3\4";
    char head[100];
    struct err err;
    int n = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", OBJECT_BYTES);
    if (read(fd, request, sizeof request) > 0 && sys_write_all(fd, head, (size_t)n, "socket", &err) == 0)
        (void)sys_write_all(fd, body, sizeof body, "socket", &err);
    close(fd);
}

/* Its port. */
static int server_start(void)
{
    int port, fd = server_listen(&port);
    if ((server = fork()) == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* also when a check fails */
        signal(SIGPIPE, SIG_IGN);
        for (int one; (one = accept(fd, NULL, NULL)) >= 0;)
            server_answer(one);
        _exit(0);
    }
    CHECK(server > 0);
    close(fd);
    return port;
}

static void server_stop(void)
{
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
}

/* ---- a run whose child stands still until all objects are given ---- */

struct run {
    struct feed feed;
    struct reader_child *reader;
    int in_spool; /* the most files that were seen there */
};

static int spool_files(void)
{
    int n = 0;
    DIR *dir = opendir(test_file("spool/fetch"));
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir));)
        n += strstr(e->d_name, ".part") && !strstr(e->d_name, ".meta");
    closedir(dir);
    return n;
}

static int on_tick(void *arg, struct err *err)
{
    struct run *run = arg;
    (void)err;
    int n = spool_files();
    if (n > run->in_spool)
        run->in_spool = n;
    if (run->feed.nobjects == OBJECTS)
        kill(reader_pid(run->reader), SIGCONT);
    return 0;
}

static struct config *config_of(const char *text)
{
    struct config *c;
    struct err err = { 0 };
    FILE *f = fopen(test_file("qetl.ini"), "w");
    assert_non_null(f);
    fprintf(f, "[target w]\nurl = sqlite://%s/w.db\n%s", test_dir(), text);
    fclose(f);
    CHECK_OK(config_load(&c, test_file("qetl.ini"), NULL, &err), err);
    return c;
}

TEST(feed, objects_beyond_the_bound_of_memory_wait_in_the_spool)
{
    struct err err = { 0 };
    struct config *config = config_of("[pipeline rows]\nformat = csv\ncolumns = id:integer\ntable = w.rows\n");
    struct spool spool;
    char *uris[OBJECTS];
    int port = server_start();
    for (int i = 0; i < OBJECTS; i++)
        CHECK(asprintf(&uris[i], "http://127.0.0.1:%d/%d.zip", port, i) > 0);
    CHECK_OK(spool_open(&spool, test_file("spool"), true, &err), err);
    struct run run = { .feed = { .config = config, .spool = &spool, .uid = "01TESTJOB", .tick = on_tick, .arg = &run } };
    run.feed.reader = &run.reader;
    run.feed.pipeline = config_pipeline(config, "rows");
    CHECK_OK(fetch_open(&run.feed.fetch, &config->limits, &err), err);
    CHECK_OK(reader_spawn(&run.reader, config, &err), err);
    kill(reader_pid(run.reader), SIGSTOP);
    CHECK_EQ(feed_run(&run.feed, uris, OBJECTS, NULL, false, &err), -1);
    CHECK_EQ(err.code, ERR_TRUNCATED); /* what the zips are */
    CHECK_EQ(run.feed.nobjects, OBJECTS);
    CHECK_EQ(run.in_spool, OBJECTS / 2);
    server_stop();
    feed_clear(&run.feed);
    fetch_close(run.feed.fetch);
    reader_free(run.reader);
    spool_close(&spool);
    config_free(config);
    for (int i = 0; i < OBJECTS; i++)
        free(uris[i]);
}
