// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* All probes. Each program is one hook; what they share is in the headers. */
#include "dialect.h"
#include "qtapture.h"
#include "maps.h"
#include "common.h"
#include "process.h"

static inline int looks_like_record(u8 *head, u64 n);
static inline void read_tuple(struct qt_tuple *t, u64 sk);
#include "join.h"
#include "socket.h"
#include "openssl.h"

#ifndef QT_BCC
char LICENSE[] SEC("license") = "Dual MIT/GPL";
#endif
