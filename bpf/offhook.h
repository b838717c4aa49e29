/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Programs that the agent runs itself, and the floor for measurements. */
#ifndef BAILIFF_OFFHOOK_H
#define BAILIFF_OFFHOOK_H

/* What an open descriptor of the caller refers to, in the kernel's own terms.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct identity);
} identified SEC(".maps");

/* clang-format off */
SEC("syscall")
int identify(struct identity_of *ctx)
/* clang-format on */
{
	struct task_struct *t = bpf_get_current_task_btf();
	struct dentry *d, *parent;
	struct file *f, **fds;
	struct inode *inode;
	__u32 fd = ctx->fd, zero = 0;
	struct identity *arg = bpf_map_lookup_elem(&identified, &zero);

	if (!arg)
		return -1;
	fds = BPF_CORE_READ(t, files, fdt, fd);
	if (fd >= BPF_CORE_READ(t, files, fdt, max_fds) ||
	    bpf_probe_read_kernel(&f, sizeof(f), fds + fd) || !f)
		return -1;
	inode = BPF_CORE_READ(f, f_inode);
	arg->id.dev = BPF_CORE_READ(inode, i_sb, s_dev);
	arg->id.gen = BPF_CORE_READ(inode, i_generation);
	arg->id.ino = BPF_CORE_READ(inode, i_ino);
	arg->is_dir = (BPF_CORE_READ(inode, i_mode) & S_IFMT) == S_IFDIR;
	d = BPF_CORE_READ(f, f_path.dentry);
	if (!arg->is_dir)
		d = BPF_CORE_READ(d, d_parent);
	arg->depth = 0;
	for (int i = 0; i < CHAIN; i++) {
		inode = BPF_CORE_READ(d, d_inode);
		arg->chain[i].dev = BPF_CORE_READ(inode, i_sb, s_dev);
		arg->chain[i].gen = BPF_CORE_READ(inode, i_generation);
		arg->chain[i].ino = BPF_CORE_READ(inode, i_ino);
		arg->depth = i + 1;
		parent = BPF_CORE_READ(d, d_parent);
		if (parent == d)
			break;
		d = parent;
	}
	return 0;
}

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct vec);
} trial_vec SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, TRIALS);
	__type(key, __u32);
	__type(value, struct trial);
} trials SEC(".maps");

/* The same decision without a hook: subject and object come as classes and
 * numbers. */
__noinline int one_trial(struct trial *arg)
{
	struct subject_classes sc = {};
	struct object_vecs ov = {};
	const struct class *c;
	struct hook_conf *hc;
	__u32 index, zero = 0, h, class;
	struct answer a;
	struct slot *s;
	struct vec *v;
	void *map;

	if (!arg)
		return -1;
	arg->first = arg->maybe = NO_CLAUSE;
	arg->done = 0;
	h = arg->hook - 1;
	s = slot_of(arg->generation, &index);
	v = bpf_map_lookup_elem(&trial_vec, &zero);
	if (!s || !v || h >= NUM_JUDGED)
		return -1;
	map = bpf_map_lookup_elem(&classes, &index);
	if (!map)
		return -1;
	sc.class[0] = arg->exe_path;
	sc.class[1] = arg->exe_name;
	sc.class[2] = arg->parent_path;
	sc.class[3] = arg->parent_name;
	if (subject_paths(v, &sc, index, h))
		return -1;
	hc = &s->hook[h];
	for (int i = 0; i < MAX_SUBJECT_DIMS; i++) {
		const struct dim *d = &hc->subject[i];
		__u64 n;

		if (i >= hc->subject_dims || !v->sum)
			break;
		n = arg->num[d->field & 31];
		if (d->other)
			n = n == arg->num[d->other & 31];
		and_id(v, index, number_vec(d, n, index));
	}
	class = arg->file_path;
	c = bpf_map_lookup_elem(map, &class);
	ov.id[0] = c ? c->file[h] : VEC_ONES;
	class = arg->file_name;
	c = bpf_map_lookup_elem(map, &class);
	ov.id[1] = c ? c->file[h] : VEC_ONES;
#pragma unroll
	for (int i = 0; i < MAX_OBJECT_DIMS; i++) {
		const struct dim *d = &hc->object[i];
		__u64 n;

		if (i >= hc->object_dims)
			break;
		n = arg->num[d->field & 31];
		if (d->other)
			n = n == arg->num[d->other & 31];
		ov.id[2 + i] = number_vec(d, n, index);
	}
	if (match(&a, v, &ov, index, h))
		return -1;
	arg->first = a.first;
	arg->maybe = a.held != NO_CLAUSE ? a.held : a.maybe;
	arg->done = 1;
	return 0;
}

/* clang-format off */
SEC("syscall")
int decide_trials(void *ctx)
/* clang-format on */
{
	for (__u32 i = 0; i < TRIALS; i++) {
		__u32 key = i;
		struct trial *tr = bpf_map_lookup_elem(&trials, &key);

		if (!tr || !tr->generation)
			break;
		one_trial(tr);
	}
	return 0;
}

/* What attaching anything to a hook costs: the floor in docs/performance.md. */
/* clang-format off */
SEC("fmod_ret/security_file_open")
int BPF_PROG(floor_mod, struct file *file, int ret)
/* clang-format on */
{
	return ret;
}

/* clang-format off */
SEC("lsm/file_open")
int BPF_PROG(floor_open, struct file *file, int ret)
/* clang-format on */
{
	return ret;
}

#endif
