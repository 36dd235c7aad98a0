/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Processes: exec, fork, exit, and the stop that lets the attacher be first. */
#ifndef QT_PROCESS_H
#define QT_PROCESS_H

#define QT_SIGSTOP 19
#define QT_ARG_PIECES 8 /* 128 KiB: MAX_ARG_STRLEN, the longest single argument */

#define QT_STEER_EXEC 1
#define QT_STEER_MAPPED 2  /* by the dynamic linker */
#define QT_STEER_RUNNING 4 /* it was not stopped, for its parent would take that for a job's */

/* To the attacher alone: a descendant of COMMAND stands still until it decides. */
struct qt_steer {
	u64 time_ns;
	u32 pid;
	u32 why; /* QT_STEER_* */
};

static inline u32 ns_pid_of(u64 task)
{
	u64 pid = 0;
	u32 level = 0;
	u32 nr = 0;

	QT_KREAD(pid, task, task_struct, thread_pid);
	QT_KREAD(level, pid, pid, level);
	/* struct upid is 16 bytes: int nr, padding, struct pid_namespace * */
	bpf_probe_read_kernel(&nr, sizeof(nr), (void *)(QT_ADDR(pid, pid, numbers) + level * 16));
	return nr;
}

/* Parents that wait for stopped children would stop themselves (job control). */
static inline int parent_watches(u64 task)
{
	struct qt_name name = {};
	u64 parent = 0;

	u32 pid = 0;

	QT_KREAD(parent, task, task_struct, real_parent);
	QT_KREAD(name, parent, task_struct, comm);
	QT_KREAD(pid, parent, task_struct, tgid);
	return watchers_get(&name) != 0 || member_of(pid) & QT_MEMBER_WATCHES;
}

/* A shell that could not be stopped may watch its children too: it is taken for one that does
 * until the attacher has looked. */
static inline void suspect_shell(u32 pid)
{
	struct qt_name name = {};
	u32 member = member_of(pid) | QT_MEMBER_WATCHES;

	bpf_get_current_comm(&name, sizeof(name));
	if (shells_get(&name))
		members_set(&pid, &member);
}

static inline void stop_for_attacher(void *ctx, u32 why)
{
	u32 pid = bpf_get_current_pid_tgid() >> 32;
	struct qt_steer s = {};

	if (!(config_flags() & QT_STOP) || !(member_of(pid) & QT_MEMBER_COMMAND))
		return;
	s.time_ns = bpf_ktime_get_boot_ns();
	s.pid = pid;
	s.why = why;
	if (parent_watches(bpf_get_current_task())) {
		s.why |= QT_STEER_RUNNING;
		if (why == QT_STEER_EXEC)
			suspect_shell(pid);
		steer_out(ctx, &s, sizeof(s));
		return;
	}
	/* in this order: the guardian finds whoever is stopped, whatever happens next */
	stopped_set(&pid, &s.time_ns);
	if (bpf_send_signal(QT_SIGSTOP)) {
		stopped_del(&pid);
		return;
	}
	steer_out(ctx, &s, sizeof(s));
}

static inline void exec_args(void *ctx, struct qt_exec_scratch *s, u64 mm)
{
	u64 start = 0;
	u64 n = s->exec.args_len;

	QT_KREAD(start, mm, mm_struct, arg_start);
	s->args.head = s->exec.head;
	s->args.head.type = QT_EXEC_ARGS;
	s->args.exec_ns = s->exec.head.time_ns;
	for (u32 i = 0; i < QT_ARG_PIECES; i++) {
		u64 size = n > QT_PIECE ? QT_PIECE : n;

		if (!bounded(&size, QT_PIECE))
			return;
		if (bpf_probe_read_user(s->data, size, (void *)start))
			return;
		s->args.offset = i * QT_PIECE;
		s->args.captured_len = size;
		s->args.head.length = sizeof(s->args) + size;
		count(QT_KIND_CONTROL, 0, control_out(ctx, &s->args, sizeof(s->args) + size));
		start += size;
		n -= size;
	}
}

static inline void exec_facts(struct qt_exec *e, u64 task, u64 bprm)
{
	u64 parent = 0;
	u64 file = 0;
	u64 inode = 0;
	u64 super = 0;
	u64 ids = bpf_get_current_uid_gid();
	u32 ppid = 0;

	QT_KREAD(parent, task, task_struct, real_parent);
	QT_KREAD(ppid, parent, task_struct, tgid);
	e->ppid = ppid;
	e->ns_pid = ns_pid_of(task);
	e->uid = (u32)ids;
	e->gid = ids >> 32;
	QT_KREAD(e->start_ns, task, task_struct, start_boottime);
	e->parent_start_ticks = ticks_of(parent);
	e->cgroup_id = bpf_get_current_cgroup_id();
	QT_KREAD(file, bprm, linux_binprm, file);
	QT_KREAD(inode, file, file, f_inode);
	QT_KREAD(e->exe_inode, inode, inode, i_ino);
	QT_KREAD(super, inode, inode, i_sb);
	QT_KREAD(e->exe_dev, super, super_block, s_dev);
	e->reserved = 0;
}

static inline void exec_sample(void *ctx, struct qt_exec_scratch *s, u64 task, u64 bprm)
{
	u64 mm = 0;
	u64 name = 0;
	u64 start = 0;
	u64 end = 0;
	long len;
	u64 size;

	fill_head(&s->exec.head, QT_EXEC, QT_KIND_CONTROL, 0);
	exec_facts(&s->exec, task, bprm);
	QT_KREAD(mm, task, task_struct, mm);
	QT_KREAD(start, mm, mm_struct, arg_start);
	QT_KREAD(end, mm, mm_struct, arg_end);
	s->exec.args_len = end > start ? end - start : 0;
	QT_KREAD(name, bprm, linux_binprm, filename);
	len = bpf_probe_read_kernel_str(s->file, sizeof(s->file), (void *)name);
	size = len > 1 ? len - 1 : 0;
	QT_OPAQUE(size);
	if (size > sizeof(s->file) - 1)
		size = sizeof(s->file) - 1;
	s->exec.file_len = size;
	s->exec.head.length = sizeof(s->exec) + size;
	count(QT_KIND_CONTROL, 0, control_out(ctx, &s->exec, sizeof(s->exec) + size));
	exec_args(ctx, s, mm);
}

static inline int exec_undecided(u64 bprm)
{
	struct qt_file key = {};
	u64 file = 0;
	u64 inode = 0;
	u64 super = 0;

	QT_KREAD(file, bprm, linux_binprm, file);
	QT_KREAD(inode, file, file, f_inode);
	QT_KREAD(key.inode, inode, inode, i_ino);
	QT_KREAD(super, inode, inode, i_sb);
	QT_KREAD(key.dev, super, super_block, s_dev);
	return decided_get(&key) == 0;
}

/* Executable pages of the running process: they grow where a library is mapped. */
static inline u64 text_pages(void)
{
	u64 mm = 0;
	u64 pages = 0;

	QT_KREAD(mm, bpf_get_current_task(), task_struct, mm);
	QT_KREAD(pages, mm, mm_struct, exec_vm);
	return pages;
}

static inline void maybe_stop_at_exec(void *ctx, u64 bprm, u32 pid)
{
	u64 pages = text_pages();

	if (!(member_of(pid) & QT_MEMBER_COMMAND))
		return;
	/* what exec itself mapped is looked at now, or was before */
	mapped_text_set(&pid, &pages);
	if (exec_undecided(bprm))
		stop_for_attacher(ctx, QT_STEER_EXEC);
}

QT_SEC("raw_tp/sched_process_exec")
int on_exec(qt_tp *ctx)
{
	u64 task = ctx->args[0];
	u64 bprm = ctx->args[2];
	u32 zero = 0;
	u32 flags = config_flags();
	u32 pid = bpf_get_current_pid_tgid() >> 32;
	u32 in = QT_MEMBER_IN;
	struct qt_exec_scratch *s;

	if (flags & QT_SCOPE_COMMS && comm_in_scope())
		members_add(&pid, &in);
	if (!in_scope(flags))
		return 0;
	maybe_stop_at_exec(ctx, bprm, pid);
	s = exec_scratch_get(&zero);
	if (!s)
		return 0;
	if (claim(&s->busy)) {
		count_skipped(QT_KIND_CONTROL, 0);
		return 0;
	}
	exec_sample(ctx, s, task, bprm);
	release(&s->busy);
	return 0;
}

QT_SEC("raw_tp/sched_process_fork")
int on_fork(qt_tp *ctx)
{
	u64 child = ctx->args[1];
	u64 ids = bpf_get_current_uid_gid();
	u32 flags = config_flags();
	u32 inherited;
	u32 tid = 0;
	struct qt_fork f = {};

	QT_KREAD(tid, child, task_struct, pid);
	QT_KREAD(f.child_pid, child, task_struct, tgid);
	if (tid != f.child_pid) /* a thread */
		return 0;
	inherited = member_of(bpf_get_current_pid_tgid() >> 32) & ~QT_MEMBER_WATCHES;
	if (inherited & QT_MEMBER_OUT)
		members_set(&f.child_pid, &inherited);
	if (!in_scope(flags))
		return 0;
	if (flags & QT_SCOPE_COMMS && !inherited && comm_in_scope())
		inherited = QT_MEMBER_IN;
	if (inherited && !(flags & QT_NO_CHILDREN))
		members_set(&f.child_pid, &inherited);
	fill_head(&f.head, QT_FORK, QT_KIND_CONTROL, sizeof(f));
	f.child_ns_pid = ns_pid_of(child);
	QT_KREAD(f.child_start_ns, child, task_struct, start_boottime);
	f.child_start_ticks = f.child_start_ns / 10000000;
	f.uid = (u32)ids;
	f.gid = ids >> 32;
	f.cgroup_id = bpf_get_current_cgroup_id();
	count(QT_KIND_CONTROL, 0, control_out(ctx, &f, sizeof(f)));
	return 0;
}

QT_SEC("raw_tp/sched_process_exit")
int on_exit(qt_tp *ctx)
{
	u64 task = ctx->args[0];
	u64 signal = 0;
	u32 live = 1;
	u32 code = 0;
	u32 pid = bpf_get_current_pid_tgid() >> 32;
	struct qt_exit e = {};
	u64 id = bpf_get_current_pid_tgid();

	threads_del(&id); /* or those that have ended push out those in a call */
	QT_KREAD(signal, task, task_struct, signal);
	QT_KREAD(live, signal, signal_struct, live);
	if (live) /* other threads go on */
		return 0;
	if (in_scope(config_flags())) {
		fill_head(&e.head, QT_EXIT, QT_KIND_CONTROL, sizeof(e));
		QT_KREAD(code, signal, signal_struct, group_exit_code);
		if (!code)
			QT_KREAD(code, task, task_struct, exit_code);
		e.exit_code = code;
		count(QT_KIND_CONTROL, 0, control_out(ctx, &e, sizeof(e)));
	}
	members_del(&pid);
	stopped_del(&pid);
	return 0;
}

/* _dl_debug_state: the dynamic linker has mapped files and has not yet run them. */
QT_SEC("uprobe")
int on_link_map(struct pt_regs *ctx)
{
	u32 pid = bpf_get_current_pid_tgid() >> 32;
	u64 pages = text_pages();
	u64 *before;

	if (!(member_of(pid) & QT_MEMBER_COMMAND))
		return 0;
	before = mapped_text_get(&pid);
	if (before && *before == pages) /* nothing executable was added */
		return 0;
	mapped_text_set(&pid, &pages);
	stop_for_attacher(ctx, QT_STEER_MAPPED);
	return 0;
}

#endif
