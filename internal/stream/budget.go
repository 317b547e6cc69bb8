package stream

import "sync"

// DefaultBudget bounds the rings and windows of a process that sets no other.
const DefaultBudget = 256 << 20

// Budget is memory that many streams share. Each stream takes the minimum that it needs (16 KiB to
// send, 256 KiB to receive) without asking. More comes from the budget, and a stream that gets none
// is slower.
type Budget struct {
	mu    sync.Mutex
	limit int
	used  int
}

// NewBudget makes a budget of the given number of bytes.
func NewBudget(bytes int) *Budget { return &Budget{limit: bytes} }

// Used returns the bytes that streams hold now.
func (b *Budget) Used() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

func (b *Budget) take(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used+n > b.limit {
		return false
	}
	b.used += n
	return true
}

// force takes memory that is in use already.
func (b *Budget) force(n int) { b.give(-n) }

func (b *Budget) give(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
}
