/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * cgroups that come, go and are joined. A service manager forks first and moves
 * the child afterwards: without this a service would pass for its manager.
 */
#ifndef BAILIFF_CGROUP_H
#define BAILIFF_CGROUP_H

/* A cgroup is made, of which the operator may have said something before. */
static __always_inline int cgroup_made(struct cgroup *c, const char *path)
{
	struct cgroup_path key = {};
	__u64 id = BPF_CORE_READ(c, kn, id);
	__u32 *m;

	if (!settings.cgroup_modes || BPF_CORE_READ(c, root, hierarchy_id))
		return 0;
	/* A path that does not fit has no mode: user space takes none. */
	if (bpf_probe_read_kernel_str(&key, sizeof(key), path) >= (long)sizeof(key))
		return 0;
	m = bpf_map_lookup_elem(&cgroup_mode_paths, &key);
	if (m)
		bpf_map_update_elem(&cgroup_modes, &id, m, BPF_ANY);
	return 0;
}

static __always_inline int cgroup_gone(struct cgroup *c)
{
	__u64 id = BPF_CORE_READ(c, kn, id);

	if (BPF_CORE_READ(c, root, hierarchy_id))
		return 0;
	bpf_map_delete_elem(&cgroup_procs, &id);
	if (settings.cgroup_modes)
		bpf_map_delete_elem(&cgroup_modes, &id);
	return 0;
}

static __always_inline void uncount_proc(struct proc *p)
{
	struct cgroup_count *n;

	if (!(p->flags & PROC_COUNTED))
		return;
	n = bpf_map_lookup_elem(&cgroup_procs, &p->cgroup);
	if (n) {
		__sync_fetch_and_add(&n->procs, -1);
		/* One that is empty for a moment keeps its rates. */
		if (n->procs <= 0 && !settings.rates)
			bpf_map_delete_elem(&cgroup_procs, &p->cgroup);
	}
	p->flags &= ~PROC_COUNTED;
}

/* The acts of a hook within the last second: those of this second, and of the
 * one before the share that is not over yet. 0 while no rule reads it, and for a
 * cgroup that is not counted. */
static __always_inline __u32 cgroup_rate(__u64 cgroup, __u32 h)
{
	__u64 now, rest, cur, before;
	struct cgroup_count *c;
	__u32 second, n = 0;

	if (h > 1 || !(settings.rates & (1u << h)))
		return 0;
	c = bpf_map_lookup_elem(&cgroup_procs, &cgroup);
	if (!c)
		return 0;
	now = bpf_ktime_get_boot_ns();
	second = now / SECOND;
	rest = SECOND - now % SECOND;
	cur = c->rate[h][second & 1];
	before = c->rate[h][~second & 1];
	if (cur >> 32 == second)
		n = (__u32)cur;
	if (before >> 32 == second - 1)
		n += (__u32)before * rest / SECOND;
	return n;
}

/* Another CPU may have begun the second meanwhile, or be in the next one. */
static __always_inline void cgroup_tick(__u64 cgroup, __u32 h)
{
	struct cgroup_count *c;
	__u32 second, had;
	__u64 *at, old;

	if (h > 1 || !(settings.rates & (1u << h)))
		return;
	c = bpf_map_lookup_elem(&cgroup_procs, &cgroup);
	if (!c)
		return;
	second = bpf_ktime_get_boot_ns() / SECOND;
	at = &c->rate[h][second & 1];
	old = *(volatile __u64 *)at;
	had = old >> 32;
	if ((__s32)(second - had) > 0 &&
	    __sync_val_compare_and_swap(at, old, (__u64)second << 32 | 1) == old)
		return;
	if ((__s32)(second - had) >= 0)
		__sync_fetch_and_add(at, 1);
}

/* Threads of one process may be in several cgroups; the leader's counts. */
static __always_inline int cgroup_moved(struct cgroup *to, struct task_struct *t)
{
	struct proc *p;

	if (t->pid != t->tgid || BPF_CORE_READ(to, root, hierarchy_id))
		return 0;
	p = bpf_task_storage_get(&procs, t, 0, 0);
	if (!p || !p->exec_id)
		return 0;
	uncount_proc(p);
	p->cgroup = BPF_CORE_READ(to, kn, id);
	count_proc(p);
	if (under_scope(t))
		p->flags |= PROC_SCOPE;
	/* What rules say about the process may have changed. */
	forget_vectors(p);
	take_pass(t);
	return 0;
}

#endif
