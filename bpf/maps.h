/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every map, with who writes it, who reads it and what bounds it.
 *
 * The tables of a generation are inner maps, made and filled by user space
 * aside, put into the outer maps at index generation % NUM_SLOTS, and made
 * active by one store to settings.generation.
 */
#ifndef BAILIFF_MAPS_H
#define BAILIFF_MAPS_H

/* User space writes, every program reads. */
volatile struct config settings;
/* The same, before the programs are loaded: acts can be refused. */
const volatile __u32 can_refuse;
/* Numbers for programs (exe_ids); kernel only. */
volatile __u32 last_exe;

/* What the kernel began with, found by find_initial at load. Addresses of what
 * never goes away, to compare with and to read from. */
volatile struct begun {
	__u64 mnt_ns;
	__u64 pid_ns;
	__u64 user_ns;
	__u64 init; /* process 1 */
	__u64 renames; /* rename_lock, whose first member is a sequence; 0: the kernel hides its addresses */
} initial;

/* Free passes: processes that no rule on opens concerns, by thread group id.
 * Kernel only; one that is overwritten is given again. See open.h. */
#define PASSES 8192
struct pass {
	__u64 cred; /* address, to compare */
	__u64 id;   /* tgid << 32 | euid */
	__u64 generation;
	__u64 pad;
};
volatile struct pass passes[PASSES];

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, NUM_SLOTS);
	__type(key, __u32);
	__type(value, struct slot);
} slots SEC(".maps");

struct objects_inner {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct file_id);
	__type(value, struct object);
};

struct names_inner {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct name_key);
	__type(value, __u32);
};

struct long_names_inner {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct long_name_key);
	__type(value, __u32);
};

struct suffixes_inner {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct suffix_key);
	__type(value, __u32);
};

struct basenames_inner {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(key_size, NAME_KEY);
	__type(value, __u32);
};

struct classes_inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_INNER_MAP);
	__type(key, __u32);
	__type(value, struct class);
};

struct vecs_inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_INNER_MAP);
	__type(key, __u32);
	__type(value, struct vec);
};

struct bounds_inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_INNER_MAP);
	__type(key, __u32);
	__type(value, struct bound);
};

struct exe_classes_inner {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct exe_class);
};

struct texts_inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_INNER_MAP);
	__type(key, __u32);
	__type(value, struct text_state);
};

#define GENERATIONS(name_, inner_)                        \
	struct {                                          \
		__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS); \
		__uint(max_entries, NUM_SLOTS);           \
		__type(key, __u32);                       \
		__array(values, struct inner_);           \
	} name_ SEC(".maps")

/* identity -> class: files that rules name, directories that rules name. */
GENERATIONS(objects, objects_inner);
/* (directory, name) -> class: files that rules name, even if they do not exist
 * yet. */
GENERATIONS(names, names_inner);
GENERATIONS(long_names, long_names_inner);
/* last component -> class of names; exact, then by suffix. */
GENERATIONS(basenames, basenames_inner);
GENERATIONS(suffixes, suffixes_inner);
GENERATIONS(classes, classes_inner);
GENERATIONS(vecs, vecs_inner);
GENERATIONS(bounds, bounds_inner);
/* states of the automaton that tests arguments and environment. */
GENERATIONS(texts, texts_inner);
/* exe id -> classes of that program; user space when staging, the kernel at
 * exec. */
GENERATIONS(exe_classes, exe_classes_inner);

/* Verdicts that user space gave for what was not lowered. Not an LRU: denies
 * may not be evicted. Full: the agent is told, the act stays undecided. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct verdict_key);
	__type(value, __u32);
} verdicts SEC(".maps");

/* Programs seen, numbered. Full: programs after that have number 0 and, after
 * a policy change, no class until they are executed again: fail closed. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct exe_key);
	__type(value, __u32);
} exe_ids SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct exe_info);
} exe_infos SEC(".maps");

/* Programs that are never denied, whoever runs them; user space at load. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, struct file_id);
	__type(value, __u32);
} rescue SEC(".maps");

/* Processes in a cgroup, and how often they fork and exec, by cgroup id. Kernel
 * only; entries go with the last process, or with the cgroup. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct cgroup_count);
} cgroup_procs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNT_MAX);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 << 20);
	__type(value, struct record);
} events SEC(".maps");

/* Map values and keys that no code touches whole would reach BTF as mere names.
 */
const struct {
	struct object object;
	struct class class;
	struct bound bound;
	struct vec vec;
	struct text_state text_state;
	struct exe_class exe_class;
	struct suffix_key suffix_key;
	struct name_key name_key;
	struct long_name_key long_name_key;
	struct file_id file_id;
	struct exe_info exe_info;
	struct wire_file wire_file;
	struct wire_subject wire_subject;
	struct verdict_key verdict_key;
	struct held_verdict held_verdict;
	struct ticket_key ticket_key;
	struct examine_of examine_of;
	struct examined examined;
	enum counter counter;
} wire_types = {};

static __always_inline void count(__u32 which)
{
	__u64 *n = bpf_map_lookup_elem(&counters, &which);

	if (n)
		(*n)++;
}

#endif
