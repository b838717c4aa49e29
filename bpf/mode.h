/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Does a deny verdict block here? Asked only when one was reached, so nothing
 * of this is on the way of an act that no rule concerns. event.Modes in Go has
 * the meaning; the order is:
 *
 *   the rule's own mode and the cgroup's own mode: audit wins over enforce
 *   else the mode for all, which may enforce in a share of the cgroups only
 */
#ifndef BAILIFF_MODE_H
#define BAILIFF_MODE_H

/* Modes of cgroups by path, whether or not there is such a cgroup now; user
 * space writes, the kernel reads when a cgroup is made. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_CGROUP_MODES);
	__type(key, struct cgroup_path);
	__type(value, __u32);
} cgroup_mode_paths SEC(".maps");

/* The same by id; written by user space for cgroups that are there, by the
 * kernel when one is made and when one goes. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4 * MAX_CGROUP_MODES);
	__type(key, __u64);
	__type(value, __u32);
} cgroup_modes SEC(".maps");

struct mode_walk {
	__u64 cgroup;
	__u32 depth;
	__u32 found; /* mode + 1; 0: none */
};

static __always_inline struct cgroup *above_at(__u64 cgroup, __u32 level)
{
	struct cgroup *c = (void *)cgroup, *at = NULL;

	bpf_probe_read_kernel(&at, sizeof(at), &c->ancestors[level & 0xff]);
	return at;
}

/* From the top down: the deepest cgroup that has a mode is the last found. */
static long mode_step(__u32 i, struct mode_walk *w)
{
	struct cgroup *c;
	__u64 id;
	__u32 *m;

	if (i >= w->depth)
		return 1;
	c = above_at(w->cgroup, i + 1);
	id = BPF_CORE_READ(c, kn, id);
	m = bpf_map_lookup_elem(&cgroup_modes, &id);
	if (m)
		w->found = *m + 1;
	return 0;
}

struct share_walk {
	__u64 cgroup;
	__u64 name; /* what is left of the component, 0 between two */
	__u64 hash;
	__u64 tail; /* last bytes of the component */
	__u32 level;
	__u32 depth;
};

static __always_inline void share_byte(struct share_walk *w, __u8 c)
{
	w->hash = (w->hash ^ c) * 0x100000001b3;
	w->tail = w->tail << 8 | c;
}

/* Some bytes of the path, up to the first component that is a service or a
 * scope: what a service makes below itself belongs to it. */
static long share_step(__u32 i, struct share_walk *w)
{
	struct cgroup *c;
	char part[16];
	long n;

	if (!w->name) {
		if (w->level >= w->depth || w->tail == 0x2e73657276696365 /* .service */ ||
		    (w->tail & 0xffffffffffff) == 0x2e73636f7065 /* .scope */)
			return 1;
		w->level++;
		c = above_at(w->cgroup, w->level);
		w->name = (__u64)BPF_CORE_READ(c, kn, name);
		w->tail = 0;
		share_byte(w, '/');
	}
	n = bpf_probe_read_kernel_str(part, sizeof(part), (void *)w->name);
	if (n <= 0)
		return 1;
	for (int k = 0; k < 15; k++) {
		if (k >= n - 1)
			break;
		share_byte(w, part[k]);
	}
	w->name = n == sizeof(part) ? w->name + 15 : 0;
	return 0;
}

/* Is the current task's cgroup among the share of those that enforce? */
static __noinline bool in_share(__u32 share)
{
	struct share_walk w = {.hash = 0xcbf29ce484222325};
	struct cgroup *c = cgroup_at(bpf_get_current_task_btf());

	w.cgroup = (__u64)c;
	w.depth = BPF_CORE_READ(c, level);
	bpf_loop(2048, share_step, &w, 0);
	w.hash = (w.hash ^ w.hash >> 32) * 0x9e3779b97f4a7c15;
	return ((w.hash ^ w.hash >> 32) & (ENFORCE_ALL - 1)) < share;
}

/* enforced: the rule's own mode is enforce. Returns the mode and, in the next
 * byte, who said so. (A rule whose own mode is audit never comes here.) */
__noinline __u32 mode_here(__u32 enforced)
{
	__u32 share = settings.mode;
	struct mode_walk w = {};

	if (settings.cgroup_modes) {
		struct cgroup *c = cgroup_at(bpf_get_current_task_btf());

		w.cgroup = (__u64)c;
		w.depth = BPF_CORE_READ(c, level);
		bpf_loop(MAX_CGROUP_LEVEL, mode_step, &w, 0);
		if (w.found && (!enforced || w.found == 1))
			return (w.found - 1) | BY_CGROUP << 8;
	}
	if (enforced)
		return 1 | BY_RULE << 8;
	if (!share || share >= ENFORCE_ALL)
		return share != 0;
	return in_share(share) | BY_SHARE << 8;
}

#endif
