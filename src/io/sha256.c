/* SHA-256 by libcrypto. See sha256.h. */
#define ERR_STATE OPENSSL_ERR_STATE /* a type of theirs, and a code of ours */
#include <openssl/evp.h>
#undef ERR_STATE

#include "io/sha256.h"

/* EVP_MD_CTX under our own name. */
static EVP_MD_CTX *ctx_of(struct sha256 *s)
{
    return (EVP_MD_CTX *)s;
}

static int fault(struct err *err)
{
    return err_set(err, ERR_INTERNAL, "libcrypto has no SHA-256");
}

struct sha256 *sha256_new(struct err *err)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1)
        return (struct sha256 *)ctx;
    if (ctx)
        (void)fault(err);
    else
        (void)err_nomem(err);
    EVP_MD_CTX_free(ctx);
    return NULL;
}

struct sha256 *sha256_new_md5(struct err *err)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (ctx && EVP_DigestInit_ex(ctx, EVP_md5(), NULL) == 1)
        return (struct sha256 *)ctx;
    if (ctx)
        err_set(err, ERR_CONFIG, "an MD5 cannot be checked: libcrypto does none here");
    else
        (void)err_nomem(err);
    EVP_MD_CTX_free(ctx);
    return NULL;
}

void sha256_free(struct sha256 *s)
{
    EVP_MD_CTX_free(ctx_of(s));
}

int sha256_add(struct sha256 *s, struct str bytes, struct err *err)
{
    return EVP_DigestUpdate(ctx_of(s), bytes.p, bytes.n) == 1 ? 0 : fault(err);
}

static void put_hex(const unsigned char *raw, unsigned n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (unsigned i = 0; i < n; i++) {
        *out++ = digits[raw[i] >> 4];
        *out++ = digits[raw[i] & 15];
    }
    *out = '\0';
}

int sha256_end(struct sha256 *s, char out[SHA256_HEX + 1], struct err *err)
{
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned n;
    if (EVP_DigestFinal_ex(ctx_of(s), raw, &n) != 1 ||
        EVP_DigestInit_ex(ctx_of(s), NULL, NULL) != 1) /* of the same kind */
        return fault(err);
    put_hex(raw, n, out);
    return 0;
}

int sha256_of(struct str bytes, char out[SHA256_HEX + 1], struct err *err)
{
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned n;
    if (EVP_Digest(bytes.p ? bytes.p : "", bytes.n, raw, &n, EVP_sha256(), NULL) != 1)
        return fault(err);
    put_hex(raw, n, out);
    return 0;
}
