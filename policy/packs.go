package policy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/util"
)

// Pack is a set of rules that is added to a bundle. Its files count as if they
// lay below packs/NAME in it: its data is data.packs.NAME. What the bundle
// itself says there goes before that, and what File says before both.
type Pack struct {
	Name string
	FS   fs.FS
	File string // JSON object for data.packs.NAME, read at each load; "": none
}

// Keys of a pack's data: what must not be empty in the end, and the object of
// which no new keys may be invented.
const (
	requiredKey   = "required"
	exceptionsKey = "exceptions"
)

// addPacks adds modules and data of packs to the bundle b, which was read from
// f; with their tests if those of the bundle are in it, too. It returns what
// they add to the revision.
func (f *files) addPacks(b *bundle.Bundle, packs []Pack, tests bool) (revision string, err error) {
	if len(packs) == 0 {
		return "", nil
	}
	all := map[string]any{}
	for _, p := range packs {
		pf, data, err := p.read(f.limits, tests)
		if err != nil {
			return "", err
		}
		pb, err := pf.read()
		if err != nil {
			return "", err
		}
		b.Modules = append(b.Modules, pb.Modules...)
		f.quoted = append(f.quoted, pf.entries...)
		own, ok := dig(pb.Data, "packs", p.Name)
		if !ok {
			return "", Errors{{Code: CodePack, File: "packs/" + p.Name, Why: "the pack has no data.json"}}
		}
		if err := p.known(own, data); err != nil {
			return "", err
		}
		if said, ok := dig(b.Data, "packs", p.Name); ok {
			if err := p.known(own, said); err != nil {
				return "", err
			}
			own = over(said, own)
		}
		own = over(data, own)
		if err := p.complete(own); err != nil {
			return "", err
		}
		all[p.Name] = own
		revision += "+" + p.Name + "-" + p.digest(pf, own)
	}
	if said, ok := b.Data["packs"].(map[string]any); ok {
		all = over(all, said)
	}
	b.Data["packs"] = all
	return revision, nil
}

// read reads the pack's files and the data that is said elsewhere.
func (p Pack) read(l Limits, tests bool) (*files, map[string]any, error) {
	c, err := walkFS(p.FS, l, false)
	if err != nil {
		return nil, nil, err
	}
	for i := range c.entries {
		c.entries[i].path = path.Join("packs", p.Name, c.entries[i].path)
	}
	f := newFiles(c)
	if tests {
		f = allFiles(c)
	}
	if p.File == "" {
		return f, nil, f.scan()
	}
	b, err := os.ReadFile(p.File)
	if err != nil {
		return nil, nil, Errors{{Code: CodePack, Why: fmt.Sprintf("read data of the pack %s: %v", p.Name, err), Hint: "--pack " + p.Name + "=FILE names a JSON file"}}
	}
	if int64(len(b)) > f.limits.FileBytes {
		return nil, nil, Errors{{Code: CodeLimit, File: p.File, Why: fmt.Sprintf("it has more than %d bytes", f.limits.FileBytes), Hint: "split the machine's programs into directories"}}
	}
	extra := &files{limits: f.limits, entries: []entry{{path: "data.json", data: b}}}
	if err := extra.scan(); err != nil {
		return nil, nil, err
	}
	var data map[string]any
	if err := util.UnmarshalJSON(b, &data); err != nil {
		return nil, nil, Errors{{Code: CodePack, File: p.File, Why: fmt.Sprintf("it is no JSON object: %v", err), Hint: "its keys are those of " + p.dataFile()}}
	}
	return f, data, nil
}

// digest is short and changes with rules and data: another list is another policy.
func (p Pack) digest(f *files, data map[string]any) string {
	h, sum := sha256.New(), f.sum()
	h.Write(sum[:])
	_ = json.NewEncoder(h).Encode(data) // keys in order; a hash takes all
	return hex.EncodeToString(h.Sum(nil)[:4])
}

func (p Pack) dataFile() string { return path.Join("rules/packs", p.Name, "data.json") }

// known refuses data that no rule reads: a misspelt exception would be none.
func (p Pack) known(own, said map[string]any) error {
	for key, v := range said {
		was, ok := own[key]
		inner, isMap := was.(map[string]any)
		given, givenMap := v.(map[string]any)
		switch {
		case !ok:
			return Errors{{Code: CodePack, File: p.File, Why: fmt.Sprintf("nothing in the pack %s reads data.packs.%s.%s", p.Name, p.Name, printable(key)),
				Hint: "it reads " + strings.Join(sortedKeys(own), ", ")}}
		case isMap != givenMap, isList(was) != isList(v):
			return Errors{{Code: CodePack, File: p.File, Why: fmt.Sprintf("data.packs.%s.%s has another form in the pack", p.Name, printable(key)),
				Hint: "see " + p.dataFile()}}
		case isMap && key == exceptionsKey:
			for k := range given {
				if _, ok := inner[k]; !ok {
					return Errors{{Code: CodePack, File: p.File, Why: fmt.Sprintf("nothing in the pack %s reads data.packs.%s.%s.%s", p.Name, p.Name, key, printable(k)),
						Hint: "it reads " + strings.Join(sortedKeys(inner), ", ")}}
				}
			}
		}
	}
	return nil
}

// complete refuses a pack that lacks what it cannot do without.
func (p Pack) complete(data map[string]any) error {
	need, _ := data[requiredKey].([]any)
	i := slices.IndexFunc(need, func(key any) bool {
		list, _ := data[fmt.Sprint(key)].([]any)
		object, _ := data[fmt.Sprint(key)].(map[string]any)
		return len(list)+len(object) == 0
	})
	if i < 0 {
		return nil
	}
	return Errors{{Code: CodePack, Why: fmt.Sprintf("the pack %s needs data.packs.%s.%s, which is empty", p.Name, p.Name, need[i]),
		Hint: fmt.Sprintf("`bailiff pack %s --help` says how to make it; then --pack %s=FILE", p.Name, p.Name)}}
}

func isList(v any) bool { _, ok := v.([]any); return ok }

// dig returns the object at a path.
func dig(v map[string]any, keys ...string) (map[string]any, bool) {
	for _, k := range keys {
		next, ok := v[k].(map[string]any)
		if !ok {
			return nil, false
		}
		v = next
	}
	return v, true
}

// over is below with what top says put over it, object by object.
func over(top, below map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range below {
		out[k] = v
	}
	for k, v := range top {
		a, ok1 := v.(map[string]any)
		b, ok2 := out[k].(map[string]any)
		if ok1 && ok2 {
			v = over(a, b)
		}
		out[k] = v
	}
	return out
}

// List returns the rules of a pack as they would be decided with data that is
// complete, and which data it cannot do without.
func (p Pack) List(ctx context.Context) (rules []ExplainedRule, needs []string, err error) {
	a, needs, err := p.open()
	if err != nil {
		return nil, nil, err
	}
	compiled, _, err := a.Compile(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer compiled.Close(ctx)
	return compiled.Explain(), needs, nil
}

// open takes a pack for a bundle of its own.
func (p Pack) open() (a *Archive, needs []string, err error) {
	c, err := walkFS(p.FS, Limits{}, false)
	if err != nil {
		return nil, nil, err
	}
	for i := range c.entries {
		c.entries[i].path = path.Join("packs", p.Name, c.entries[i].path)
	}
	if a, err = newArchive(c, nil, Options{}); err != nil {
		return nil, nil, err
	}
	b, err := a.files.read()
	if err != nil {
		return nil, nil, err
	}
	own, _ := dig(b.Data, "packs", p.Name)
	list, _ := own[requiredKey].([]any)
	for _, key := range list {
		needs = append(needs, fmt.Sprint(key))
	}
	return a, needs, nil
}
