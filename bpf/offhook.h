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

struct chain_walk {
	__u64 dentry;
	struct identity *out;
};

static long chain_step(__u64 i, struct chain_walk *w)
{
	struct dentry *d = (void *)w->dentry, *parent = BPF_CORE_READ(d, d_parent);
	struct inode *inode = BPF_CORE_READ(d, d_inode);
	struct file_id *id;

	if (i >= CHAIN)
		return 1;
	id = &w->out->chain[i];
	id->dev = BPF_CORE_READ(inode, i_sb, s_dev);
	id->gen = BPF_CORE_READ(inode, i_generation);
	id->ino = BPF_CORE_READ(inode, i_ino);
	w->out->depth = i + 1;
	if (parent == d)
		return 1;
	w->dentry = (__u64)parent;
	return 0;
}

/* clang-format off */
SEC("syscall")
int identify(struct identity_of *ctx)
/* clang-format on */
{
	struct task_struct *t = bpf_get_current_task_btf();
	struct file *f, **fds;
	struct chain_walk w;
	struct inode *inode;
	struct dentry *d;
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
	w.dentry = (__u64)d;
	w.out = arg;
	bpf_loop(CHAIN, chain_step, &w, 0);
	return 0;
}

struct up_walk {
	struct task_struct *t;
};

static long up_step(__u64 i, struct up_walk *w)
{
	struct task_struct *up = w->t->real_parent;

	if (!up || up->pid == 0)
		return 1;
	w->t = up;
	return 0;
}

/* Looked up by the kernel itself: user space would read all its symbols. */
static const char rename_lock[] = "rename_lock";

/* Where the caller's ancestors end: at process 1, whose parent is the kernel's
 * first task, in the first namespaces. -1 if that is not where they end. */
/* clang-format off */
SEC("syscall")
int find_initial(void *ctx)
/* clang-format on */
{
	struct up_walk w = {.t = bpf_get_current_task_btf()};
	struct task_struct *t, *up;
	__u64 renames = 0;

	bpf_loop(1024, up_step, &w, 0);
	up = w.t->real_parent;
	/* A parent is the thread that forked. */
	t = w.t->group_leader;
	if (!up || up->pid || t->pid != 1)
		return -1;
	initial.mnt_ns = (__u64)BPF_CORE_READ(up, nsproxy, mnt_ns);
	initial.pid_ns = (__u64)BPF_CORE_READ(up, nsproxy, pid_ns_for_children);
	initial.user_ns = (__u64)BPF_CORE_READ(up, cred, user_ns);
	initial.init = (__u64)t;
	if (!bpf_kallsyms_lookup_name(rename_lock, sizeof(rename_lock), 0, &renames))
		initial.renames = renames;
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

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct answer);
} trial_answer SEC(".maps");

/* What is left for the texts of the caller to decide. */
__noinline int late_trial(struct trial *arg, const struct vec *subject, __u32 index)
{
	struct slot *s = bpf_map_lookup_elem(&slots, &index);
	const struct hook_conf *hc;
	struct commit_room *room;

	if (!arg || !subject || !s)
		return 0;
	room = begin_note(subject, s);
	if (!room)
		return 0;
	note_class(room, index, arg->file_path);
	note_class(room, index, arg->file_name);
	hc = &s->hook[HOOK_EXEC - 1];
	for (int i = 0; i < MAX_OBJECT_DIMS; i++) {
		const struct dim *d = &hc->object[i];
		__u64 n;

		if (i >= hc->object_dims || !room->vec.sum)
			break;
		n = arg->num[d->field & 63];
		if (d->other)
			n = n == arg->num[d->other & 63];
		and_id(&room->vec, index, number_vec(d, n, index));
	}
	room->at.args = arg->args;
	room->at.args_end = arg->args + arg->args_len;
	room->at.env = arg->env;
	room->at.env_end = arg->env + arg->env_len;
	and_texts(&room->vec, read_texts(&room->at, index), arg->argc, index);
	first_late(&room->of_file, &room->vec, index);
	arg->late = room->of_file.first;
	arg->late_maybe = room->of_file.maybe;
	room->vec.sum = 0;
	return 0;
}

/* The subject's vector. */
__noinline int trial_subject(struct trial *arg, struct vec *v, __u32 index, __u32 h)
{
	struct slot *s = bpf_map_lookup_elem(&slots, &index);
	struct subject_classes sc = {};
	const struct hook_conf *hc;

	if (!arg || !v || !s || h >= NUM_JUDGED)
		return -1;
	sc.class[0] = arg->exe_path;
	sc.class[1] = arg->exe_name;
	sc.class[2] = arg->parent_path;
	sc.class[3] = arg->parent_name;
	if (subject_paths(v, &sc, index, h))
		return -1;
	hc = &s->hook[row_of(h, NUM_JUDGED)];
	if (hc->uses_shell)
		and_shell(v, arg->num[FIELD_PROCESS_SHELL], index, h);
	for (int i = 0; i < MAX_SUBJECT_DIMS; i++) {
		const struct dim *d = &hc->subject[i];
		__u64 n;

		if (i >= hc->subject_dims || !v->sum)
			break;
		n = arg->num[d->field & 63];
		if (d->other)
			n = n == arg->num[d->other & 63];
		and_id(v, index, number_vec(d, n, index));
	}
	return 0;
}

/* The same decision without a hook: subject and object come as classes and
 * numbers. */
__noinline int one_trial(struct trial *arg)
{
	__u32 index, zero = 0, h;
	void *map, *class_map;
	struct match_walk m;
	struct hook_conf *hc;
	struct answer *a;
	struct slot *s;
	struct vec *v;

	if (!arg)
		return -1;
	arg->first = arg->maybe = arg->late = arg->late_maybe = NO_CLAUSE;
	arg->done = 0;
	h = arg->hook - 1;
	s = slot_of(arg->generation, &index);
	v = bpf_map_lookup_elem(&trial_vec, &zero);
	a = bpf_map_lookup_elem(&trial_answer, &zero);
	if (!s || !v || !a || h >= NUM_JUDGED)
		return -1;
	class_map = bpf_map_lookup_elem(&classes, &index);
	map = bpf_map_lookup_elem(&vecs, &index);
	if (!map || !class_map)
		return -1;
	if (trial_subject(arg, v, index, h))
		return -1;
	hc = &s->hook[row_of(h, NUM_JUDGED)];
	a->first = a->held = a->maybe = NO_CLAUSE;
	m.a = a;
	m.subject = v;
	if (match_begin(&m, s, map, h) || match_class(&m, map, 0, class_map, arg->file_path, h) ||
	    match_class(&m, map, 1, class_map, arg->file_name, h))
		return -1;
#pragma unroll
	for (int i = 0; i < MAX_OBJECT_DIMS; i++) {
		const struct dim *d = &hc->object[i];
		__u64 n;

		if (i >= hc->object_dims)
			break;
		n = arg->num[d->field & 63];
		if (d->other)
			n = n == arg->num[d->other & 63];
		if (match_dim(&m, map, 2 + i, number_vec(d, n, index)))
			return -1;
	}
	if (h == HOOK_EXEC - 1 && match_waits(&m, s))
		late_trial(arg, v, index);
	match(&m);
	arg->first = a->first;
	arg->maybe = a->held != NO_CLAUSE ? a->held : a->maybe;
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

/* Does the kernel compute digests? The agent opens a file, with nothing else
 * attached, and looks at the counter. */
/* clang-format off */
SEC("lsm.s/file_open")
int BPF_PROG(digest_probe, struct file *file, int ret)
/* clang-format on */
{
	__u8 sum[32];

	if (bpf_get_current_pid_tgid() >> 32 == settings.agent &&
	    bpf_ima_file_hash(file, sum, sizeof(sum)) == HASH_ALGO_SHA256)
		count(COUNT_DIGEST_COMPUTED);
	return ret;
}

/* Does it tell programs of fs-verity? The same way: that file has none. */
/* clang-format off */
SEC("lsm/file_open")
int BPF_PROG(verity_probe, struct file *file, int ret)
/* clang-format on */
{
	struct digest_room *room;

	if (bpf_get_current_pid_tgid() >> 32 != settings.agent)
		return ret;
	room = digest_room(BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!room)
		return ret;
	verity_measure(file, room);
	if (room->measured)
		count(COUNT_VERITY_KNOWN);
	return ret;
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
