/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Facts of a process or a file that may change at any time: read at the decision, when a
 * rule reads them. */
#ifndef BAILIFF_FACTS_H
#define BAILIFF_FACTS_H

#define SECOND 1000000000ULL

/* When the content or an attribute was changed last: ns of the wall clock. read_ is
 * how a member is read. */
#define CHANGED_AT(name_, read_)                                                                  \
	static __always_inline __u64 name_(struct inode *inode)                                   \
	{                                                                                         \
		struct inode___611 *n = (void *)inode;                                            \
		struct inode___66 *m = (void *)inode;                                             \
		struct inode___61 *o = (void *)inode;                                             \
                                                                                                  \
		if (bpf_core_field_exists(n->i_ctime_sec))                                        \
			return read_(n, i_ctime_sec) * SECOND +                                   \
			       (read_(n, i_ctime_nsec) & 0x7fffffff);                             \
		if (bpf_core_field_exists(m->__i_ctime))                                          \
			return read_(m, __i_ctime.tv_sec) * SECOND + read_(m, __i_ctime.tv_nsec); \
		return read_(o, i_ctime.tv_sec) * SECOND + read_(o, i_ctime.tv_nsec);             \
	}
#define PLAIN_LOAD(p_, member_) ((p_)->member_)
CHANGED_AT(changed_at, BPF_CORE_READ)
CHANGED_AT(changed_at_near, PLAIN_LOAD)

/* Whole seconds since then, 136 years at most; boot is the time now. */
static __always_inline __u32 seconds_since(__u64 changed, __u64 boot)
{
	__s64 age = boot + settings.wall - changed;
	__u64 seconds = age > 0 ? (__u64)age / SECOND : 0;

	return seconds < 0xfffffffe ? seconds : 0xfffffffe;
}

static __always_inline __u32 file_age(struct inode *inode, __u64 boot)
{
	return seconds_since(changed_at(inode), boot);
}

/* The same of a file that the program has as a typed pointer. */
static __always_inline __u32 file_age_near(struct inode *inode, __u64 boot)
{
	return seconds_since(changed_at_near(inode), boot);
}

/* The bits of input.process.traits, in the order of event.ProcessTraits, by the
 * namespaces that a thread is in. A container that shares the pid namespace of the
 * host has a root of its own: own_root is asked for that. */
#define PLACE_TRAITS(mnt_ns_, pid_ns_, user_ns_, own_root_)                   \
	({                                                                    \
		__u32 traits_ = (__u64)(user_ns_) != initial.user_ns ? 8 : 0; \
		bool own_pids_ = (__u64)(pid_ns_) != initial.pid_ns;          \
                                                                              \
		if (own_pids_)                                                \
			traits_ |= 4;                                         \
		if ((__u64)(mnt_ns_) != initial.mnt_ns)                       \
			traits_ |= own_pids_ || own_root_ ? 3 : 2;            \
		traits_;                                                      \
	})

static __always_inline struct dentry *init_root(void)
{
	struct task_struct *init = (void *)initial.init;

	return BPF_CORE_READ(init, fs, root.dentry);
}

/* The current thread's. Verified by itself: the verifier looks through all types of
 * the kernel, four times, for each pointer that is read out of a trusted one, each
 * time that it comes by (see also fill_thread and cgroup_of's callers). */
__noinline __u32 process_traits(void)
{
	struct task_struct *t = bpf_get_current_task_btf();
	struct nsproxy *ns = t->nsproxy;

	return PLACE_TRAITS(ns->mnt_ns, ns->pid_ns_for_children, t->cred->user_ns,
			    (t->fs->root.dentry != init_root()));
}

/* The same of a thread that the program has as a number. */
static __always_inline __u32 far_traits(struct task_struct *t)
{
	struct nsproxy *ns = BPF_CORE_READ(t, nsproxy);

	return PLACE_TRAITS(BPF_CORE_READ(ns, mnt_ns), BPF_CORE_READ(ns, pid_ns_for_children),
			    BPF_CORE_READ(t, cred, user_ns),
			    (BPF_CORE_READ(t, fs, root.dentry) != init_root()));
}

/* Is an open file a socket? A named socket that is opened as a path is a file. */
static __always_inline bool is_socket(struct file *f)
{
	struct inode *inode;

	if (bpf_rdonly_cast) {
		f = bpf_rdonly_cast(f, bpf_core_type_id_kernel(struct file));
		inode = f->f_inode;
		return (inode->i_mode & S_IFMT) == S_IFSOCK && inode->i_sb->s_magic == SOCKFS_MAGIC;
	}
	inode = BPF_CORE_READ(f, f_inode);
	return (BPF_CORE_READ(inode, i_mode) & S_IFMT) == S_IFSOCK &&
	       BPF_CORE_READ(inode, i_sb, s_magic) == SOCKFS_MAGIC;
}

/* The bits of input.process.stdio, in the order of event.Stdio: what a thread
 * hands to the image that it executes. */
static __always_inline __u32 stdio_of(struct file **fds, unsigned long *close_on_exec)
{
	unsigned long closed = 0;
	struct file *f;
	__u32 bits = 0;

	bpf_probe_read_kernel(&closed, sizeof(closed), close_on_exec);
	for (int i = 0; i < 3; i++) {
		struct socket *sock;
		struct sock *sk;

		if (closed >> i & 1 || bpf_probe_read_kernel(&f, sizeof(f), fds + i) || !f ||
		    !is_socket(f))
			continue;
		bits |= 1 << i;
		sock = BPF_CORE_READ(f, private_data);
		sk = BPF_CORE_READ(sock, sk);
		if (BPF_CORE_READ(sk, __sk_common.skc_family) != AF_UNIX &&
		    BPF_CORE_READ(sk, __sk_common.skc_state) != TCP_LISTEN)
			bits |= 8 << i;
	}
	return bits;
}

__noinline __u32 stdio_bits(void)
{
	struct fdtable *fdt = bpf_get_current_task_btf()->files->fdt;

	return stdio_of(fdt->fd, fdt->close_on_exec);
}

#endif
