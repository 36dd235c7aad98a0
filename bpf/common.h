/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What every program does: count, name the running task, judge scope. */
#ifndef QT_COMMON_H
#define QT_COMMON_H

/* Accounts for one sample given to a ring: submitted == in the file + lost. */
static inline void count(u32 kind, u64 bytes, long failed)
{
	struct qt_count *c = counts_get(&kind);

	if (!c)
		return;
	__sync_fetch_and_add(&c->submitted, 1);
	if (bytes) /* clang makes an atomic "or 0" of adding nothing, which Linux 5.10 lacks */
		__sync_fetch_and_add(&c->submitted_bytes, bytes);
	if (failed) {
		__sync_fetch_and_add(&c->lost, 1);
		if (bytes)
			__sync_fetch_and_add(&c->lost_bytes, bytes);
	}
}

static inline void count_skipped(u32 kind, u64 bytes)
{
	struct qt_count *c = counts_get(&kind);

	if (!c)
		return;
	__sync_fetch_and_add(&c->skipped, 1);
	if (bytes)
		__sync_fetch_and_add(&c->skipped_bytes, bytes);
}

static inline u64 ticks_of(u64 task)
{
	u64 leader = 0;
	u64 start = 0;

	QT_KREAD(leader, task, task_struct, group_leader);
	QT_KREAD(start, leader, task_struct, start_boottime);
	return start / 10000000; /* 10 ms, as /proc/PID/stat has it */
}

static inline void fill_head(struct qt_head *h, u16 type, u8 kind, u32 length)
{
	u64 id = bpf_get_current_pid_tgid();

	h->type = type;
	h->kind = kind;
	h->flags = 0;
	h->length = length;
	h->time_ns = bpf_ktime_get_boot_ns();
	h->pid = id >> 32;
	h->tid = (u32)id;
	h->start_ticks = ticks_of(bpf_get_current_task());
	bpf_get_current_comm(&h->comm, sizeof(h->comm));
}

static inline void hide_task(struct qt_head *h)
{
	h->flags |= QT_F_NO_TASK;
	h->pid = 0;
	h->tid = 0;
	h->start_ticks = 0;
	__builtin_memset(h->comm, 0, sizeof(h->comm));
}

static inline u32 config_flags(void)
{
	u32 zero = 0;
	struct qt_config *c = config_get(&zero);

	return c ? c->flags : 0;
}

static inline u32 member_of(u32 pid)
{
	u32 *m = members_get(&pid);

	return m ? *m : 0;
}

static inline int comm_in_scope(void)
{
	struct qt_name name = {};
	u64 leader = 0;

	QT_KREAD(leader, bpf_get_current_task(), task_struct, group_leader);
	QT_KREAD(name, leader, task_struct, comm);
	return comms_get(&name) != 0;
}

/* Is the running process one that was asked for? */
static inline int in_scope(u32 flags)
{
	u32 member = member_of(bpf_get_current_pid_tgid() >> 32);

	if (member & QT_MEMBER_OUT)
		return 0;
	if (member & QT_MEMBER_IN || flags & QT_SCOPE_ALL)
		return 1;
	if (flags & QT_SCOPE_USERS) {
		u32 uid = (u32)bpf_get_current_uid_gid();

		if (users_get(&uid))
			return 1;
	}
	return flags & QT_SCOPE_COMMS ? comm_in_scope() : 0;
}

/* Claims a scratch buffer; 0 means that it is ours now. */
static inline u64 claim(u64 *busy)
{
	return QT_CLAIM(busy);
}

static inline void release(u64 *busy)
{
	QT_RELEASE(busy);
}

/* 1 <= *n <= most, in two steps that clang cannot make one of: with a wrap in it, the verifier
 * of Linux 6.1 does not follow. */
static inline int bounded(u64 *n, u64 most)
{
	u64 value = *n;

	if (value == 0)
		return 0;
	QT_OPAQUE(value);
	if (value > most)
		return 0;
	*n = value;
	return 1;
}

/* Makes the cursor point at readable bytes; 0 when the call is used up. */
static inline u64 cursor_range(struct qt_cursor *at)
{
	u64 range[2];
	u64 n;

	if (at->base_left == 0) {
		if (at->vectors == 0)
			return 0;
		if (bpf_probe_read_user(range, sizeof(range), (void *)at->vector))
			return 0;
		at->vector += sizeof(range);
		at->vectors--;
		at->base = range[0];
		at->base_left = range[1];
	}
	n = at->base_left < at->left ? at->base_left : at->left;
	return n > QT_PIECE ? QT_PIECE : n;
}

static inline void cursor_step(struct qt_cursor *at, u64 n)
{
	at->base += n;
	at->base_left -= n;
	at->left -= n;
	at->done += n;
}

#endif
