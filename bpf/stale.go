package bpf

import "path"

// stale is what binding anew has changed, as far as verdicts that user space
// gave rest on it: the names of a file are not in their keys.
type stale struct {
	any     bool // something is to be written
	all     bool // a directory of the rules is another: whatever is below it
	objects map[kernelFileId]bool
	names   map[kernelNameKey]bool
}

func staleAfter(old, now entries) *stale {
	s := &stale{objects: map[kernelFileId]bool{}, names: map[kernelNameKey]bool{}}
	object := func(id kernelFileId, was, is kernelObject) {
		s.any = true
		s.all = s.all || was.Below != is.Below || (was.Flags^is.Flags)&objectPrefix != 0
		if was.Class != is.Class || (was.Flags^is.Flags)&objectFile != 0 {
			s.objects[id] = true
		}
	}
	for id, is := range changed(old.objects, now.objects) {
		object(id, old.objects[id], is)
	}
	for id, was := range old.objects {
		if _, there := now.objects[id]; !there {
			object(id, was, kernelObject{})
		}
	}
	for key := range changed(old.names, now.names) {
		s.any, s.names[key] = true, true
	}
	for key := range old.names {
		if _, there := now.names[key]; !there {
			s.any, s.names[key] = true, true
		}
	}
	// Longer names are in no key of a verdict.
	s.any = s.any || len(old.long) != len(now.long) || len(changed(old.long, now.long)) > 0
	return s
}

func (s *stale) of(file, dir kernelFileId, name string) bool {
	return s.objects[file] || len(name) < 64 && s.names[kernelNameKey{Dir: dir, Name: [64]int8(chars(name, 64))}]
}

// forgetStale removes the verdicts about files and programs whose names are
// others now.
func (k *Kernel) forgetStale(s *stale) error {
	if s.all {
		k.forgetPaths()
	}
	if len(s.objects)+len(s.names) == 0 {
		return nil
	}
	infos, err := k.exeInfos()
	if err != nil {
		k.forgetPaths()
		return err
	}
	exes := map[uint32]bool{}
	for id, info := range infos {
		within := joinReversed(rawChars(info.Path[:info.PathLen]))
		if s.of(info.File.Id, info.File.Dir, path.Base(within)) {
			exes[id] = true
		}
	}
	for _, name := range []string{"verdicts", "held"} {
		k.dropVerdicts(name, func(key *kernelVerdictKey) bool {
			return s.objects[key.File] || s.names[kernelNameKey{Dir: key.Dir, Name: key.Name}] || exes[key.ExeId] || exes[key.ParentExeId]
		})
	}
	return nil
}
