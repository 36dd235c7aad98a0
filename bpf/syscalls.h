/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Socket calls seen where system calls end, for kernels without sock_send_length (6.3).
 *
 * Costs every system call of the host a look at its number. What io_uring does is not seen;
 * the kernel's own byte counts at the end of a socket show that it was.
 */
#ifndef QT_SYSCALLS_H
#define QT_SYSCALLS_H

#if defined(__TARGET_ARCH_arm64) || defined(__aarch64__)
#define QT_NR_SENDFILE 71
#define QT_NR_SPLICE 76
#define QT_NR_RECVMMSG 243
#define QT_NR_SENDMMSG 269
#else
#define QT_NR_SENDFILE 40
#define QT_NR_SPLICE 275
#define QT_NR_RECVMMSG 299
#define QT_NR_SENDMMSG 307
#endif

#define QT_S_IFMT 0170000
#define QT_S_IFSOCK 0140000
#define QT_MESSAGES 64    /* more of one sendmmsg show in the kernel's byte counts alone */
#define QT_MMSGHDR 64     /* sizeof(struct mmsghdr) on 64-bit machines */
#define QT_MMSGHDR_LEN 56 /* offset of msg_len in it */
#define QT_NOT_OURS 2     /* no direction: another system call */

static inline u32 direction_of(u32 nr)
{
	switch (nr) {
	case QT_NR_READ:
	case QT_NR_READV:
	case QT_NR_RECVFROM:
	case QT_NR_RECVMSG:
	case QT_NR_RECVMMSG:
		return 0;
	case QT_NR_WRITE:
	case QT_NR_WRITEV:
	case QT_NR_SENDTO:
	case QT_NR_SENDMSG:
	case QT_NR_SENDMMSG:
	case QT_NR_SENDFILE:
	case QT_NR_SPLICE:
		return 1;
	}
	return QT_NOT_OURS;
}

static inline int only_peeks(struct qt_call *c)
{
	if (c->nr == QT_NR_RECVFROM)
		return c->arg3 & QT_MSG_PEEK;
	return c->nr == QT_NR_RECVMSG && c->arg2 & QT_MSG_PEEK;
}

/* The socket behind a descriptor, 0 for any other file. */
static inline u64 socket_of(u32 fd)
{
	u64 files = 0;
	u64 table = 0;
	u64 slots = 0;
	u64 file = 0;
	u64 inode = 0;
	u64 socket = 0;
	u64 sk = 0;
	u32 size = 0;
	u16 mode = 0;

	QT_KREAD(files, bpf_get_current_task(), task_struct, files);
	QT_KREAD(table, files, files_struct, fdt);
	QT_KREAD(size, table, fdtable, max_fds);
	QT_KREAD(slots, table, fdtable, fd);
	if (fd >= size)
		return 0;
	bpf_probe_read_kernel(&file, sizeof(file), (void *)(slots + (u64)fd * sizeof(file)));
	QT_KREAD(inode, file, file, f_inode);
	QT_KREAD(mode, inode, inode, i_mode);
	if ((mode & QT_S_IFMT) != QT_S_IFSOCK)
		return 0;
	QT_KREAD(socket, file, file, private_data);
	QT_KREAD(sk, socket, socket, sk);
	return sk;
}

/* sendmmsg and recvmmsg return how many messages; their lengths stand in the vector. */
static inline u64 messages_length(struct qt_call *c, u64 messages)
{
	u32 total = 0; /* 32 bits wrap, so that the verifier sees the same state each time round */

	for (u32 i = 0; i < QT_MESSAGES; i++) {
		u32 len = 0;

		/* no break: each would be a path of its own for the verifier */
		if (i < messages)
			bpf_probe_read_user(&len, sizeof(len),
					    (void *)(c->arg1 + i * QT_MMSGHDR + QT_MMSGHDR_LEN));
		total += len;
	}
	return total;
}

QT_SEC("raw_tp/sys_exit")
int on_sys_exit(qt_tp *ctx)
{
	s64 result = ctx->args[1];
	struct qt_call call = {};
	u64 sk;
	u32 dir;

	if (result <= 0)
		return 0;
	read_call(&call, ctx->args[0]);
	dir = direction_of(call.nr);
	if (dir == QT_NOT_OURS || only_peeks(&call) || !in_scope(config_flags()))
		return 0;
	sk = socket_of(call.nr == QT_NR_SPLICE ? call.arg2 : call.fd);
	if (!sk || !is_tcp(sk))
		return 0;
	if (call.nr == QT_NR_SENDMMSG || call.nr == QT_NR_RECVMMSG)
		result = messages_length(&call, result);
	if (!only_counted(sk, result, dir))
		sock_payload(ctx, sk, &call, result, dir);
	return 0;
}

#endif
