package ir

import (
	"maps"
	"slices"
	"strings"

	"example.com/bailiff/internal/event"
)

// InterestingKeys returns keys that put each condition of a hook's rules to
// the test: one that makes each clause true, and for each of its conditions
// one that makes only that condition false; at each number bound the values on
// both sides; and the zero key. A kernel that agrees with Decide on all of them
// has looked up every entry of its tables.
func (p *Program) InterestingKeys(h event.Hook) []Key {
	out := []Key{{}}
	for i := range p.Rules[h] {
		for j := range p.Rules[h][i].Clauses {
			out = append(out, p.Rules[h][i].Clauses[j].keys()...)
		}
	}
	return out
}

// perSet bounds how many values of one set are tried: ends and some between.
const perSet = 16

// keys makes the clause true, then each condition false, then tries the other
// values of each condition.
func (c *Clause) keys() []Key {
	base := c.satisfy(-1)
	out := []Key{base}
	for i := range c.When {
		out = append(out, c.satisfy(i))
		for _, v := range c.When[i].values() {
			k := base
			k.put(&c.When[i], v)
			out = append(out, k)
		}
	}
	return out
}

// satisfy chooses a value for each condition so that it holds, or does not for
// the one numbered not. A later condition on the same field may win: the key is
// then merely less interesting.
func (c *Clause) satisfy(not int) Key {
	var k Key
	for i := range c.When {
		w := &c.When[i]
		want := i != not
		if w.Holds(&k) == want {
			continue
		}
		for _, v := range w.values() {
			try := k
			try.put(w, v)
			if w.Holds(&try) == want && c.stillHold(&try, i) {
				k = try
				break
			}
		}
	}
	return k
}

// stillHold: what was made true on the same field before stays true.
func (c *Clause) stillHold(k *Key, before int) bool {
	for i := range c.When[:before] {
		if c.When[i].Field == c.When[before].Field && !c.When[i].Holds(k) {
			return false
		}
	}
	return true
}

// value is one thing to put into a field.
type value struct {
	str   string
	num   uint64
	isStr bool
	none  bool // of a text: there is none
}

func str(s string) value { return value{str: s, isStr: true} }
func num(n uint64) value { return value{num: n} }

// values lists what is on either side of the condition.
func (c *Cond) values() []value {
	var out []value
	if c.IsText() {
		for _, s := range sample(c.Strs) {
			if c.Op == OpRegex {
				s = matchOf(s)
			}
			out = append(out, str(s), str(s+"x"), str("x"+s), str("x"+s+"x"))
		}
		return append(out, value{none: true}, str(""))
	}
	switch c.Op {
	case OpIn:
		for _, s := range sample(c.Strs) {
			out = append(out, str(s), str(s+"x"))
		}
		for _, n := range sample(c.Nums) {
			out = append(out, num(n), num(n+1))
			if n > 0 {
				out = append(out, num(n-1))
			}
		}
	case OpPrefix:
		out = append(out, beside(c.Strs)...)
	case OpSuffix:
		for _, s := range sample(c.Strs) {
			out = append(out, str("x"+s), str(s), str(s+"x"))
		}
	case OpLess:
		n := c.Nums[0]
		out = append(out, num(n-1), num(n), num(n+1), num(0), num(1<<63-1))
	case OpMaskEq:
		out = append(out, num(c.Nums[0]), num(c.Nums[0]|^c.Mask&(1<<63-1)), num(c.Nums[0]^lowest(c.Mask)), num(^c.Nums[0]&c.Mask))
	case OpMaskAny:
		out = append(out, num(lowest(c.Mask)), num(c.Mask), num(^c.Mask&(1<<63-1)))
	case OpSame:
		out = append(out, num(1), num(1<<32), num(1<<63-1))
	}
	out = append(out, beside(c.Under)...)
	switch f := event.FieldByID(c.Field); {
	case f.ID == event.FieldArgs, f.Kind == event.KindInt, f.Kind == event.KindFlags, f.Kind == event.KindEnum:
		return append(out, num(0))
	}
	return append(out, str(""), str("/none/of/them"))
}

// beside lists paths below directories and such as only look it.
func beside(dirs []string) []value {
	var out []value
	for _, s := range sample(dirs) {
		out = append(out, str(s+"a"), str(s+"a/b"), str(strings.TrimSuffix(s, "/")), str(strings.TrimSuffix(s, "/")+"x/a"))
	}
	return out
}

func lowest(mask uint64) uint64 { return mask & -mask }

func sample[T any](l []T) []T {
	if len(l) <= perSet {
		return l
	}
	out := make([]T, 0, perSet)
	for i := range perSet {
		out = append(out, l[i*(len(l)-1)/(perSet-1)])
	}
	return out
}

// put sets the condition's field. A path sets its name too, and a name alone
// changes the last component of the path, so that the key stays one that an
// event can have.
func (k *Key) put(c *Cond, v value) {
	if c.Field == event.FieldArgs || c.Field == event.FieldEnv {
		k.putText(c, v)
		return
	}
	if !v.isStr {
		k.Num[c.Field] = v.num
		return
	}
	if path, ok := pathOf(c.Field); ok {
		dir := "/"
		if l := k.Str[path]; len(l) > 0 {
			dir = l[0][:strings.LastIndexByte(l[0], '/')+1]
		}
		k.Str[path], k.Str[c.Field] = []string{dir + v.str}, []string{v.str}
		return
	}
	k.Str[c.Field] = []string{v.str}
	if name, ok := nameOf(c.Field); ok {
		k.Str[name] = []string{BaseName(v.str)}
	}
}

// putText sets a variable, or as many arguments as it takes.
func (k *Key) putText(c *Cond, v value) {
	if c.Field == event.FieldEnv {
		if k.Env = maps.Clone(k.Env); v.none {
			delete(k.Env, c.Var)
		} else if k.Env == nil {
			k.Env = map[string]string{c.Var: v.str}
		} else {
			k.Env[c.Var] = v.str
		}
		return
	}
	args := slices.Clone(k.Str[c.Field])
	switch {
	case !c.IsText():
		n := int(min(v.num, mostArgs))
		for len(args) < n {
			args = append(args, "-")
		}
		args = args[:n]
	case v.none:
		args = args[:min(len(args), max(c.At-1, 0))]
	case c.At == 0:
		args = append(args, v.str)
	default:
		for len(args) < c.At {
			args = append(args, "-")
		}
		args[c.At-1] = v.str
	}
	k.Str[c.Field], k.Num[c.Field] = args, uint64(len(args))
}

// mostArgs is how many arguments a key gets at most.
const mostArgs = 100

// nameFields are the path fields with the field of their last component.
func nameFields() [][2]event.FieldID {
	return [][2]event.FieldID{
		{event.FieldPath, event.FieldName}, {event.FieldExePath, event.FieldExeName}, {event.FieldParentPath, event.FieldParentName},
	}
}

func nameOf(path event.FieldID) (event.FieldID, bool) {
	i := slices.IndexFunc(nameFields(), func(p [2]event.FieldID) bool { return p[0] == path })
	if i < 0 {
		return 0, false
	}
	return nameFields()[i][1], true
}

func pathOf(name event.FieldID) (event.FieldID, bool) {
	i := slices.IndexFunc(nameFields(), func(p [2]event.FieldID) bool { return p[1] == name })
	if i < 0 {
		return 0, false
	}
	return nameFields()[i][0], true
}
