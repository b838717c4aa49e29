package bpf

import (
	"encoding/binary"
	"math/bits"

	"example.com/bailiff/internal/event"
)

// noFile is no descriptor.
const noFile = ^uint32(0)

// GiveAtGate adds to an act at the gate what its caller is about to give the new
// image, and closes the files of t. The hook compares that with what the image got. It
// returns what is equal for equal ones.
func (k *Kernel) GiveAtGate(ev *event.Event, t event.Given) (any, error) {
	defer t.Close()
	h, ok := ev.Handle.(*heldHandle)
	if !ok {
		return nil, nil
	}
	g := k.active.Load()
	x := &event.Exec{Args: splitStrings(t.Args, false), ArgsTotal: uint32(len(t.Args))}
	slot := <-k.gate.slots
	defer func() { k.gate.slots <- slot }()
	d := <-k.gate.free
	defer func() { k.gate.free <- d }()
	d.bind(g, 0)
	d.environment(x, t.Env, g)
	var words []uint64
	for part, is := range map[uint32]bool{keyArgs: t.Args != nil, keyEnv: t.Env != nil, keyCwd: t.Cwd != nil,
		// Only exec_check sees a script.
		keyScript: t.Scripts && k.CanRefuse()} {
		if is {
			h.given.parts |= part
		}
	}
	if t.Cwd != nil {
		if err := k.gate.examine(&slot.x, kernelExamineOf{Fd: uint32(t.Cwd.Fd()), Slot: slot.number, Pidfd: noFile}); err != nil {
			return nil, err
		}
		raw := slot.path()
		words = append(words, uint64(slot.x.File.Id.Dev), hashPath(raw, k.config.Secret))
		x.Cwd = d.place(slot.x.File.Id.Dev, raw, g)
	}
	if t.Scripts {
		var id kernelFileId
		if t.Script != nil {
			if err := k.gate.examine(&slot.x, kernelExamineOf{Fd: uint32(t.Script.Fd()), Slot: slot.number, Pidfd: noFile}); err != nil {
				return nil, err
			}
			id = slot.x.File.Id
			if id != h.ticket.File {
				x.Script = d.file(&slot.x.File, slot.path(), g).Path
			}
		}
		if k.CanRefuse() {
			words = append(words, uint64(id.Dev)<<32|uint64(id.Gen), id.Ino)
		}
	}
	ev.Exec = x
	h.given.sum = sumGiven(k.config.Secret, [][]byte{t.Args, t.Env}, words...)
	h.given.origin = sumGiven(k.config.Secret, [][]byte{t.Origin, t.Env})
	return h.given, nil
}

// sumGiven is sum_given in given.h: SipHash-1-3 over words, each text filled up with
// zeros and followed by how long it is, and then the other words.
func sumGiven(secret uint64, texts [][]byte, words ...uint64) uint64 {
	v := [4]uint64{secret ^ 0x736f6d6570736575, ^secret ^ 0x646f72616e646f6d, secret ^ 0x6c7967656e657261, ^secret ^ 0x7465646279746573}
	round := func() {
		v[0] += v[1]
		v[2] += v[3]
		v[1] = bits.RotateLeft64(v[1], 13) ^ v[0]
		v[3] = bits.RotateLeft64(v[3], 16) ^ v[2]
		v[0] = bits.RotateLeft64(v[0], 32)
		v[2] += v[1]
		v[0] += v[3]
		v[1] = bits.RotateLeft64(v[1], 17) ^ v[2]
		v[3] = bits.RotateLeft64(v[3], 21) ^ v[0]
		v[2] = bits.RotateLeft64(v[2], 32)
	}
	word := func(w uint64) {
		v[3] ^= w
		round()
		v[0] ^= w
	}
	for _, text := range texts {
		if text == nil {
			continue // not read
		}
		rest := text
		for ; len(rest) >= 8; rest = rest[8:] {
			word(binary.NativeEndian.Uint64(rest))
		}
		if len(rest) > 0 {
			var last [8]byte
			copy(last[:], rest)
			word(binary.NativeEndian.Uint64(last[:]))
		}
		word(uint64(len(text)))
	}
	for _, w := range words {
		word(w)
	}
	v[2] ^= 0xff
	for range 3 {
		round()
	}
	return (v[0] ^ v[1] ^ v[2] ^ v[3]) | 1
}
