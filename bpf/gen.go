package bpf

//go:generate go run genfields.go
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-19 -strip llvm-strip-19 -no-global-types -target bpfel -type record -type wire_subject -type wire_file -type file_id -type name_key -type long_name_key -type suffix_key -type object -type class -type vec -type dim -type bound -type hook_conf -type slot -type scope -type config -type cgroup_path -type exe_key -type exe_info -type exe_class -type verdict_key -type held_verdict -type ticket_key -type validity -type examine_of -type examined -type proc -type identity -type identity_of -type trial -type counter kernel bailiff.bpf.c -- -O2 -mcpu=v3 -Wall -Werror -Wno-missing-declarations -D__TARGET_ARCH_x86 -I/usr/include/x86_64-linux-gnu
