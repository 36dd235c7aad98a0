// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* All probes. Each program is one hook; what they share is in the headers. */
#include "dialect.h"
#include "qtapture.h"
#include "maps.h"
#include "common.h"
#include "process.h"
#include "socket.h"
#include "frames.h"
#include "join.h"
#include "payload.h"
#include "syscalls.h"
#include "openssl.h"

#ifndef QT_BCC
char LICENSE[] SEC("license") = "Dual MIT/GPL";
#endif
