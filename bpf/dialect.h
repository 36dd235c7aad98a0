/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * One source, two compilers: bcc (QT_BCC, offsets generated from the host's BTF) and
 * clang -target bpf (CO-RE). Everything else in this folder is common to both.
 *
 * Rule 1: kernel addresses are u64 and are read with QT_KREAD only; bcc's rewriter would
 *         turn a dereference into a probe read of its own.
 * Rule 2: maps are declared by QT_HASH, QT_LRU, QT_PERCPU, QT_ARRAY, QT_PERF and QT_PROGS,
 *         one to a line, and used through NAME_get, NAME_set, NAME_add, NAME_del, NAME_out
 *         and NAME_jump. bcc refuses map methods inside macros, so its loader expands
 *         these lines textually (qtapture/capture/dialect.py).
 */
#ifndef QT_DIALECT_H
#define QT_DIALECT_H

#ifdef QT_BCC

#include <uapi/linux/ptrace.h>
#include <qt_offsets.h>
#define QT_SEC(x)
#define QT_KREAD(dst, p, T, f)                                                                     \
	bpf_probe_read_kernel(&(dst), sizeof(dst), (void *)((u64)(p) + QT_OFF_##T##__##f))
#define QT_ADDR(p, T, f) ((u64)(p) + QT_OFF_##T##__##f)
typedef struct bpf_raw_tracepoint_args qt_tp;

#else /* clang -target bpf */

#include <linux/types.h>
typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s32 s32;
typedef __s64 s64;
#include <linux/bpf.h>
#define __KERNEL__ /* PT_REGS macros then use the kernel's register names */
#include "kernel_types.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
#undef inline /* bcc does the same to every function: tail calls from a subprogram are refused */
#define inline inline __attribute__((always_inline))
#define QT_SEC(x) SEC(x)
#define QT_KREAD(dst, p, T, f) bpf_core_read(&(dst), sizeof(dst), &((struct T *)(p))->f)
#define QT_ADDR(p, T, f) ((u64)(p) + bpf_core_field_offset(((struct T *)0)->f))
typedef struct bpf_raw_tracepoint_args qt_tp;

#define QT_MAP_(kind, name, K, V, N)                                                               \
	struct {                                                                                   \
		__uint(type, kind);                                                                \
		__uint(max_entries, N);                                                            \
		__type(key, K);                                                                    \
		__type(value, V);                                                                  \
	} name SEC(".maps");                                                                       \
	static inline __attribute__((unused)) V *name##_get(K *k)                                  \
	{                                                                                          \
		return bpf_map_lookup_elem(&name, k);                                              \
	}                                                                                          \
	static inline __attribute__((unused)) long name##_set(K *k, V *v)                          \
	{                                                                                          \
		return bpf_map_update_elem(&name, k, v, BPF_ANY);                                  \
	}                                                                                          \
	static inline __attribute__((unused)) long name##_add(K *k, V *v)                          \
	{                                                                                          \
		return bpf_map_update_elem(&name, k, v, BPF_NOEXIST);                              \
	}                                                                                          \
	static inline __attribute__((unused)) long name##_del(K *k)                                \
	{                                                                                          \
		return bpf_map_delete_elem(&name, k);                                              \
	}
#define QT_HASH(name, K, V, N) QT_MAP_(BPF_MAP_TYPE_HASH, name, K, V, N)
#define QT_LRU(name, K, V, N) QT_MAP_(BPF_MAP_TYPE_LRU_HASH, name, K, V, N)
#define QT_PERCPU(name, V, N) QT_MAP_(BPF_MAP_TYPE_PERCPU_ARRAY, name, u32, V, N)
#define QT_ARRAY(name, V, N) QT_MAP_(BPF_MAP_TYPE_ARRAY, name, u32, V, N)
#define QT_PERF(name)                                                                              \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);                                       \
		__uint(key_size, 4);                                                               \
		__uint(value_size, 4);                                                             \
	} name SEC(".maps");                                                                       \
	static inline long name##_out(void *ctx, void *data, u64 size)                             \
	{                                                                                          \
		return bpf_perf_event_output(ctx, &name, BPF_F_CURRENT_CPU, data, size);           \
	}
#define QT_PROGS(name, N)                                                                          \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_PROG_ARRAY);                                             \
		__uint(max_entries, N);                                                            \
		__uint(key_size, 4);                                                               \
		__uint(value_size, 4);                                                             \
	} name SEC(".maps");                                                                       \
	static inline void name##_jump(void *ctx, u32 at)                                          \
	{                                                                                          \
		bpf_tail_call(ctx, &name, at);                                                     \
	}
#endif

/* What this kernel lacks, told by the loader; the verifier never sees a dead branch.
 * qtapture/capture/features.py has the same names. */
#define QT_COOKIE 1  /* bpf_get_attach_cookie */
#define QT_ATOMICS 2 /* atomic operations with a result: known when compiling, see QT_OLD */
#ifndef QT_BCC
const volatile u32 qt_without SEC(".rodata") = 0;
#define QT_WITHOUT qt_without
#endif
#define QT_HAS(feature) (!(QT_WITHOUT & (feature)))
#if defined(QT_BCC) && (QT_WITHOUT & QT_ATOMICS)
#define QT_OLD
#endif

/* Kernels before 5.12 have no atomic operation with a result. They also run a program to its
 * end on its CPU, so that only one that interrupts it can come between. */
#ifdef QT_OLD
static inline u64 qt_claimed(u64 *at)
{
	u64 before = *(volatile u64 *)at;

	*(volatile u64 *)at = 1;
	return before;
}
static inline u64 qt_added(u64 *at, u64 n)
{
	u64 before = *(volatile u64 *)at;

	__sync_fetch_and_add(at, n);
	return before;
}
#define QT_CLAIM(at) qt_claimed(at)
#define QT_RELEASE(at) (*(volatile u64 *)(at) = 0)
#define QT_FETCH_ADD(at, n) qt_added(at, n)
#else
#define QT_CLAIM(at) __sync_val_compare_and_swap(at, 0, 1)
#define QT_RELEASE(at) ((void)__sync_val_compare_and_swap(at, 1, 0))
#define QT_FETCH_ADD(at, n) __sync_fetch_and_add(at, n)
#endif

/* Registers of the traced program, the same words for both architectures. */
#if defined(__TARGET_ARCH_arm64) || defined(__aarch64__)
#define QT_RETURN_SP(sp) (sp) /* the link register holds the return address */
#else
#define QT_RETURN_SP(sp) ((sp)-8) /* ret has popped the return address */
#endif

/* Keeps clang from proving a bound away that the verifier then misses. */
#define QT_OPAQUE(x) asm volatile("" : "+r"(x))

#endif
