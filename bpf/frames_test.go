package bpf

import (
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// What a chain of calls may take: newer kernels give some program types more,
// 6.1 counts 512 bytes for all of them, each frame rounded up to 32.
const (
	maxStack = 512
	maxCalls = 8
)

// TestStack adds up the stack frames along each chain of calls, callbacks
// included, as the verifier of 6.1 does: a kernel that is at hand may be newer.
func TestStack(t *testing.T) {
	spec, err := loadKernel()
	if err != nil {
		t.Fatal(err)
	}
	for name, prog := range spec.Programs {
		f := framesOf(t, prog)
		depth, chain := f.deepest(prog.Instructions[0].Symbol(), nil)
		if depth > maxStack || len(chain) > maxCalls {
			t.Errorf("%s: %d bytes of stack in %d calls: %v", name, depth, len(chain), chain)
		}
	}
}

// frames holds for each function its stack in bytes and what it calls.
type frames struct {
	size  map[string]int
	calls map[string][]string
}

func framesOf(t *testing.T, prog *ebpf.ProgramSpec) frames {
	t.Helper()
	f := frames{size: map[string]int{}, calls: map[string][]string{}}
	var at string
	for _, ins := range prog.Instructions {
		if s := ins.Symbol(); s != "" {
			at = s
			f.size[at] = 1
		}
		use := 0
		switch class := ins.OpCode.Class(); {
		case ins.IsFunctionReference():
			f.calls[at] = append(f.calls[at], ins.Reference())
		case class.IsStore() && ins.Dst == asm.RFP, class.IsLoad() && ins.Src == asm.RFP:
			use = -int(ins.Offset)
		case class == asm.ALU64Class && ins.OpCode.ALUOp() == asm.Add && ins.OpCode.Source() == asm.ImmSource && ins.Dst != asm.RFP:
			// How an address on the stack is made. That of something else may be made
			// so too, which would only make a frame larger than it is.
			use = -int(ins.Constant)
		}
		if use <= maxStack {
			f.size[at] = max(f.size[at], use)
		}
	}
	if at == "" {
		t.Fatal("no function has a name")
	}
	return f
}

// deepest is the chain of calls from function fn that takes the most stack.
func (f frames) deepest(fn string, above []string) (int, []string) {
	above = append(above[:len(above):len(above)], fn)
	own := (f.size[fn] + 31) / 32 * 32
	most, chain := 0, above
	for _, c := range f.calls[fn] {
		if d, ch := f.deepest(c, above); d > most {
			most, chain = d, ch
		}
	}
	return own + most, chain
}
