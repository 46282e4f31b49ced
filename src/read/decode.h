/*
 * Foreign encodings to UTF-8, as an input over an input: formats see UTF-8 only.
 */
#ifndef QETL_READ_DECODE_H
#define QETL_READ_DECODE_H

#include "base/err.h"
#include "io/config.h"
#include "io/input.h"

/*
 * A decoder that turns latin1 (ISO 8859-1) and utf-16 (RFC 2781) into UTF-8 and takes a BOM away;
 * ENC_UTF8 only takes the BOM away: UTF-8 itself is checked by the formats, row by row. ENC_UTF16
 * goes by the BOM; without one it is little-endian, unless the first byte is 0 (then big-endian).
 * ENC_UTF8_REPLACE also turns each byte that belongs to no UTF-8 character into U+FFFD.
 * What utf-16 cannot mean (half a surrogate pair, half a unit at the end) becomes the byte 0xFF,
 * which no UTF-8 has: the row with it is refused (REJECT_ENCODING), the others are read.
 *
 * in is borrowed until decode_close. The result cannot seek; its size is -1. Reading gives
 * ERR_ENCODING when ENC_UTF8 was said and the bytes begin with the BOM of utf-16. NULL: no memory.
 */
struct input *decode_open(struct input *in, enum encoding enc, struct err *err);
void decode_close(struct input *in); /* NULL is fine */

#endif
