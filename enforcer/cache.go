package enforcer

import (
	"container/list"
	"sync"

	"example.com/bailiff/internal/event"
)

// answer is the part of a verdict that rests on the decision key alone: what
// the deferred rules say. It has no message, which may name anything.
type answer struct {
	verdict event.Verdict
	rule    *event.RuleRef
	others  []event.RuleRef
	blocks  bool // a deny that may refuse the act, not one that only audits
	mixed   bool // the deciding rule may hold by what is not in the kernel's key
	kill    bool // the deciding rule asks for the offender to be killed
	// enforced: the deny blocks in audit mode, too
	enforced bool
}

// cache holds the answers of one generation by decision key, at most max of
// them, least recently used out first, and lets one evaluation serve all who
// ask for the same key meanwhile. An attacker who makes up keys can only cause
// evaluations: an answer that is pushed out is asked for again.
type cache struct {
	mu      sync.Mutex
	max     int
	entries map[string]*list.Element // of *entry
	recent  list.List                // most recent in front
	pending map[string][]*task       // key -> who waits, the one who evaluates not included
}

type entry struct {
	key string
	ans *answer
}

func newCache(limit int) *cache {
	return &cache{max: limit, entries: map[string]*list.Element{}, pending: map[string][]*task{}}
}

// look returns the answer for the task's key, or joins the task to those who
// wait for it (shared), or makes it the one that must call settle.
func (c *cache) look(t *task) (ans *answer, shared bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.entries[t.key]; ok {
		c.recent.MoveToFront(el)
		return el.Value.(*entry).ans, false
	}
	waiting, ok := c.pending[t.key]
	if ok {
		c.pending[t.key] = append(waiting, t)
		return nil, true
	}
	c.pending[t.key] = nil
	return nil, false
}

// settle ends the evaluation of a key and returns who waited for it. A nil
// answer is not stored. evicted says that another key had to go.
func (c *cache) settle(key string, ans *answer) (waited []*task, evicted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	waited = c.pending[key]
	delete(c.pending, key)
	if ans == nil {
		return waited, false
	}
	if len(c.entries) >= c.max {
		last := c.recent.Back()
		delete(c.entries, c.recent.Remove(last).(*entry).key)
		evicted = true
	}
	c.entries[key] = c.recent.PushFront(&entry{key, ans})
	return waited, evicted
}

// size is the number of stored answers.
func (c *cache) size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.entries)
}
