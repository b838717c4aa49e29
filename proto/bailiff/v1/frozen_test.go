package bailiffv1_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// TestFrozen fails when today's API could not talk to a client that was built
// from frozen.binpb.
func TestFrozen(t *testing.T) {
	for _, b := range breaks(frozen(t), current()) {
		t.Error(b)
	}
}

// TestFrozenFindsBreaks damages the frozen API in each way that matters and
// expects it to be found, so that TestFrozen does not pass by being blind.
func TestFrozenFindsBreaks(t *testing.T) {
	const file = "bailiff/v1/event.proto"
	message := func(s *descriptorpb.FileDescriptorSet, file, name string) *descriptorpb.DescriptorProto {
		for _, f := range s.File {
			for _, m := range f.MessageType {
				if f.GetName() == file && m.GetName() == name {
					return m
				}
			}
		}
		t.Fatalf("no message %s in %s", name, file)
		return nil
	}
	field := func(m *descriptorpb.DescriptorProto, name string) *descriptorpb.FieldDescriptorProto {
		for _, f := range m.Field {
			if f.GetName() == name {
				return f
			}
		}
		t.Fatalf("no field %s", name)
		return nil
	}
	for _, c := range []struct {
		want   string
		damage func(*descriptorpb.FileDescriptorSet)
	}{
		{"bailiff.v1.Fork.flags: removed", func(s *descriptorpb.FileDescriptorSet) {
			m := message(s, file, "Fork")
			m.Field = m.Field[:2]
		}},
		{"bailiff.v1.Fork.flags: number was 3, is 9", func(s *descriptorpb.FileDescriptorSet) {
			field(message(s, file, "Fork"), "flags").Number = proto.Int32(9)
		}},
		{"bailiff.v1.Fork.flags: type was uint64, is uint32", func(s *descriptorpb.FileDescriptorSet) {
			field(message(s, file, "Fork"), "flags").Type = descriptorpb.FieldDescriptorProto_TYPE_UINT32.Enum()
		}},
		{"bailiff.v1.Decision.rule: type was bailiff.v1.RuleRef, is bailiff.v1.Fork", func(s *descriptorpb.FileDescriptorSet) {
			field(message(s, file, "Decision"), "rule").TypeName = proto.String(".bailiff.v1.Fork")
		}},
		{"bailiff.v1.Fork.pid: cardinality was optional, is repeated", func(s *descriptorpb.FileDescriptorSet) {
			field(message(s, file, "Fork"), "pid").Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
		}},
		{"bailiff.v1.Mode.MODE_ENFORCE: number was 2, is 7", func(s *descriptorpb.FileDescriptorSet) {
			for _, f := range s.File {
				for _, e := range f.EnumType {
					for _, v := range e.Value {
						if v.GetName() == "MODE_ENFORCE" {
							v.Number = proto.Int32(7)
						}
					}
				}
			}
		}},
		{"bailiff.v1.AgentService.SetMode: removed", func(s *descriptorpb.FileDescriptorSet) {
			for _, f := range s.File {
				for _, sv := range f.Service {
					sv.Method = slices.DeleteFunc(sv.Method, func(m *descriptorpb.MethodDescriptorProto) bool {
						return m.GetName() == "SetMode"
					})
				}
			}
		}},
		{"bailiff.v1.EventService.Events: streaming changed", func(s *descriptorpb.FileDescriptorSet) {
			for _, f := range s.File {
				for _, sv := range f.Service {
					for _, m := range sv.Method {
						m.ServerStreaming = proto.Bool(false)
					}
				}
			}
		}},
	} {
		set := frozenSet(t)
		c.damage(set)
		if got := breaks(frozen(t), index(t, set)); !slices.Contains(got, c.want) {
			t.Errorf("want %q, got %q", c.want, got)
		}
	}
}

// descriptors by full name
type api map[protoreflect.FullName]protoreflect.Descriptor

func current() api {
	a := api{}
	for _, f := range []protoreflect.FileDescriptor{
		bailiffv1.File_bailiff_v1_event_proto,
		bailiffv1.File_bailiff_v1_event_service_proto,
		bailiffv1.File_bailiff_v1_agent_service_proto,
	} {
		a.add(f)
	}
	return a
}

func frozenSet(t *testing.T) *descriptorpb.FileDescriptorSet {
	t.Helper()
	b, err := os.ReadFile("frozen.binpb")
	if err != nil {
		t.Fatal(err)
	}
	set := &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal(b, set); err != nil {
		t.Fatal(err)
	}
	return set
}

func frozen(t *testing.T) api {
	t.Helper()
	return index(t, frozenSet(t))
}

func index(t *testing.T, set *descriptorpb.FileDescriptorSet) api {
	t.Helper()
	files, err := protodesc.NewFiles(set)
	if err != nil {
		t.Fatal(err)
	}
	a := api{}
	files.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if strings.HasPrefix(string(f.Package()), "bailiff.") {
			a.add(f)
		}
		return true
	})
	return a
}

func (a api) add(f protoreflect.FileDescriptor) {
	for i := range f.Enums().Len() {
		e := f.Enums().Get(i)
		a[e.FullName()] = e
	}
	for i := range f.Messages().Len() {
		a.message(f.Messages().Get(i))
	}
	for i := range f.Services().Len() {
		s := f.Services().Get(i)
		a[s.FullName()] = s
		for j := range s.Methods().Len() {
			a[s.Methods().Get(j).FullName()] = s.Methods().Get(j)
		}
	}
}

func (a api) message(m protoreflect.MessageDescriptor) {
	a[m.FullName()] = m
	for i := range m.Fields().Len() {
		a[m.Fields().Get(i).FullName()] = m.Fields().Get(i)
	}
	for i := range m.Messages().Len() {
		a.message(m.Messages().Get(i))
	}
}

// breaks lists what is in old and not, or not alike, in now.
func breaks(old, now api) []string {
	var out []string
	say := func(name any, format string, args ...any) {
		out = append(out, fmt.Sprintf("%v: ", name)+fmt.Sprintf(format, args...))
	}
	for name, was := range old {
		is := now[name]
		if is == nil {
			say(name, "removed")
			continue
		}
		switch was := was.(type) {
		case protoreflect.FieldDescriptor:
			is := is.(protoreflect.FieldDescriptor)
			if was.Number() != is.Number() {
				say(name, "number was %d, is %d", was.Number(), is.Number())
			}
			if typeOf(was) != typeOf(is) {
				say(name, "type was %s, is %s", typeOf(was), typeOf(is))
			}
			if was.Cardinality() != is.Cardinality() || was.IsMap() != is.IsMap() {
				say(name, "cardinality was %v, is %v", was.Cardinality(), is.Cardinality())
			}
			if oneofOf(was) != oneofOf(is) {
				say(name, "oneof was %q, is %q", oneofOf(was), oneofOf(is))
			}
		case protoreflect.EnumDescriptor:
			is := is.(protoreflect.EnumDescriptor)
			for i := range was.Values().Len() {
				v := was.Values().Get(i)
				switch w := is.Values().ByName(v.Name()); {
				case w == nil:
					say(name, "%s removed", v.Name())
				case w.Number() != v.Number():
					say(string(name)+"."+string(v.Name()), "number was %d, is %d", v.Number(), w.Number())
				}
			}
		case protoreflect.MethodDescriptor:
			is := is.(protoreflect.MethodDescriptor)
			if was.IsStreamingServer() != is.IsStreamingServer() || was.IsStreamingClient() != is.IsStreamingClient() {
				say(name, "streaming changed")
			}
			if was.Input().FullName() != is.Input().FullName() || was.Output().FullName() != is.Output().FullName() {
				say(name, "messages changed")
			}
		}
	}
	slices.Sort(out)
	return out
}

func typeOf(f protoreflect.FieldDescriptor) string {
	switch {
	case f.Message() != nil:
		return string(f.Message().FullName())
	case f.Enum() != nil:
		return string(f.Enum().FullName())
	}
	return f.Kind().String()
}

func oneofOf(f protoreflect.FieldDescriptor) protoreflect.Name {
	if o := f.ContainingOneof(); o != nil {
		return o.Name()
	}
	return ""
}
