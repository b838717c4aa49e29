/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The class of a file that a program has only as a number. */
#ifndef BAILIFF_FARPATH_H
#define BAILIFF_FARPATH_H

/* Every read costs a call. Used where nothing can be refused anyway. */
__noinline __u32 path_class_far(const struct object_ref *ref, __u32 index)
{
	void *map = bpf_map_lookup_elem(&objects, &index);
	struct far_walk w = {.index = index};
	struct dentry *d, *parent;
	struct inode *inode;
	struct file_id id;
	struct object *o;
	__u32 class;

	if (!map || !ref)
		return CLASS_UNRESOLVED;
	w.dentry = ref->dentry;
	d = (void *)ref->dentry;
	parent = BPF_CORE_READ(d, d_parent);
	inode = (void *)ref->inode;
	id.dev = BPF_CORE_READ(inode, i_sb, s_dev);
	id.gen = BPF_CORE_READ(inode, i_generation);
	id.ino = BPF_CORE_READ(inode, i_ino);
	o = bpf_map_lookup_elem(map, &id);
	if (o && o->flags & OBJECT_FILE)
		return o->class;
	inode = BPF_CORE_READ(parent, d_inode);
	id.dev = BPF_CORE_READ(inode, i_sb, s_dev);
	id.gen = BPF_CORE_READ(inode, i_generation);
	id.ino = BPF_CORE_READ(inode, i_ino);
	o = bpf_map_lookup_elem(map, &id);
	if (o && o->flags & OBJECT_NAMES && parent != d) {
		class = named_class(&id, (__u64)BPF_CORE_READ(d, d_name.name),
				    BPF_CORE_READ(d, d_name.len), index);
		if (class)
			return class;
	}
	bpf_loop(FAR_STEPS, far_step, &w, 0);
	if (w.class == CLASS_UNRESOLVED)
		count(COUNT_FAIL_CLOSED_PATH);
	return w.class;
}

#endif
