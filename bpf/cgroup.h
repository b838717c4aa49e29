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

	if (settings.cgroup_modes && !BPF_CORE_READ(c, root, hierarchy_id))
		bpf_map_delete_elem(&cgroup_modes, &id);
	return 0;
}

static __always_inline void uncount_proc(struct proc *p)
{
	__s64 *n;

	if (!(p->flags & PROC_COUNTED))
		return;
	n = bpf_map_lookup_elem(&cgroup_procs, &p->cgroup);
	if (n) {
		__sync_fetch_and_add(n, -1);
		if (*n <= 0)
			bpf_map_delete_elem(&cgroup_procs, &p->cgroup);
	}
	p->flags &= ~PROC_COUNTED;
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
