package automaton

// partition divides states into blocks; members of a block stand together.
type partition struct {
	members []int // states, block by block
	at      []int // of a state in members
	block   []int // of a state
	first   []int // of a block in members
	size    []int
	marked  []int // so many of a block's members, the first ones, are marked
}

// minimize makes states one that no text tells apart (Hopcroft 1971), and
// numbers them in the order in which texts reach them; state 0 stays.
func (d *DFA) minimize() *DFA {
	n, k := len(d.Now), d.Classes
	p := d.byAnswers()
	from, offsets := d.inverse()
	type splitter struct{ block, class int }
	var work []splitter
	for b := range p.first {
		for c := range k {
			work = append(work, splitter{b, c})
		}
	}
	var touched, by []int
	for len(work) > 0 {
		w := work[len(work)-1]
		work = work[:len(work)-1]
		by = append(by[:0], p.members[p.first[w.block]:p.first[w.block]+p.size[w.block]]...)
		for _, to := range by {
			at := w.class*(n+1) + to
			for _, s := range from[w.class*n:][offsets[at]:offsets[at+1]] {
				if p.mark(int(s)) {
					touched = append(touched, p.block[s])
				}
			}
		}
		for _, b := range touched {
			if p.split(b) {
				for c := range k {
					work = append(work, splitter{len(p.first) - 1, c})
				}
			}
		}
		touched = touched[:0]
	}
	return d.merge(p.block)
}

// byAnswers is the partition to begin with: states that say the same.
func (d *DFA) byAnswers() *partition {
	n := len(d.Now)
	p := &partition{at: make([]int, n), block: make([]int, n)}
	ids := map[[2]uint64]int{}
	var groups [][]int
	for s := range n {
		key := [2]uint64{d.Now[s], d.End[s]}
		b, ok := ids[key]
		if !ok {
			b = len(groups)
			ids[key] = b
			groups = append(groups, nil)
		}
		groups[b] = append(groups[b], s)
		p.block[s] = b
	}
	for _, g := range groups {
		p.first, p.size, p.marked = append(p.first, len(p.members)), append(p.size, len(g)), append(p.marked, 0)
		for _, s := range g {
			p.at[s] = len(p.members)
			p.members = append(p.members, s)
		}
	}
	return p
}

// inverse lists for each class and state those that lead there: from[class*n:]
// between the offsets at class*(n+1)+state and the one after.
func (d *DFA) inverse() (from []uint16, offsets []int) {
	n, k := len(d.Now), d.Classes
	from, offsets = make([]uint16, n*k), make([]int, (n+1)*k)
	for c := range k {
		off := offsets[c*(n+1):][:n+1]
		for s := range n {
			off[d.Next[s*k+c]+1]++
		}
		for s := range n {
			off[s+1] += off[s]
		}
		fill := append([]int(nil), off...)
		for s := range n {
			to := d.Next[s*k+c]
			from[c*n+fill[to]] = uint16(s)
			fill[to]++
		}
	}
	return from, offsets
}

// mark moves a state to the marked ones of its block; true if it is the first.
func (p *partition) mark(s int) bool {
	b := p.block[s]
	to := p.first[b] + p.marked[b]
	if p.at[s] < to {
		return false
	}
	other := p.members[to]
	p.members[to], p.members[p.at[s]] = s, other
	p.at[other], p.at[s] = p.at[s], to
	p.marked[b]++
	return p.marked[b] == 1
}

// split makes the smaller of the marked and the other members of a block a new
// one, the last; false if all are marked.
func (p *partition) split(b int) bool {
	m := p.marked[b]
	p.marked[b] = 0
	if m == p.size[b] {
		return false
	}
	first, size := p.first[b], m
	if m <= p.size[b]-m {
		p.first[b] += m
	} else {
		first, size = first+m, p.size[b]-m
	}
	p.size[b] -= size
	for _, s := range p.members[first : first+size] {
		p.block[s] = len(p.first)
	}
	p.first, p.size, p.marked = append(p.first, first), append(p.size, size), append(p.marked, 0)
	return true
}

// merge makes one state of each block.
func (d *DFA) merge(block []int) *DFA {
	m := &DFA{Class: d.Class, Classes: d.Classes}
	ids := map[int]int{}
	var of []int // a state of each block
	id := func(s int) int {
		n, ok := ids[block[s]]
		if !ok {
			n = len(of)
			ids[block[s]] = n
			of = append(of, s)
			m.Now, m.End = append(m.Now, d.Now[s]), append(m.End, d.End[s])
		}
		return n
	}
	id(0)
	m.Start = id(d.Start)
	for i := 0; i < len(of); i++ {
		for c := range d.Classes {
			m.Next = append(m.Next, uint16(id(int(d.Next[of[i]*d.Classes+c]))))
		}
	}
	return m
}
