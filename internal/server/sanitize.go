package server

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// validText makes every text of an answer UTF-8: one that is not would make
// the whole answer impossible to send. Where the bytes count, as in events,
// fields are marked as escaped; here they are for people.
func validText(answer any) {
	if m, ok := answer.(proto.Message); ok && m.ProtoReflect().IsValid() {
		validMessage(m.ProtoReflect())
	}
}

func validMessage(m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap():
			validMap(f, v.Map())
		case f.IsList():
			list := v.List()
			for i := range list.Len() {
				list.Set(i, validValue(f, list.Get(i)))
			}
		default:
			m.Set(f, validValue(f, v))
		}
		return true
	})
}

func validMap(f protoreflect.FieldDescriptor, m protoreflect.Map) {
	was := map[string]protoreflect.Value{}
	m.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
		m.Set(k, validValue(f.MapValue(), v))
		if f.MapKey().Kind() == protoreflect.StringKind && invalid(k.String()) {
			was[k.String()] = m.Get(k)
		}
		return true
	})
	for k, v := range was {
		m.Clear(protoreflect.ValueOfString(k).MapKey())
		m.Set(protoreflect.ValueOfString(escapeAlways(k)).MapKey(), v)
	}
}

func validValue(f protoreflect.FieldDescriptor, v protoreflect.Value) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.StringKind:
		s, _ := escape(v.String())
		return protoreflect.ValueOfString(s)
	case protoreflect.MessageKind:
		validMessage(v.Message())
	}
	return v
}
