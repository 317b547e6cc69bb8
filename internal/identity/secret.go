package identity

import (
	"errors"
	"sync"
)

// errForgotten means that a key was forgotten during its use.
var errForgotten = errors.New("the key has been forgotten")

// secret is private bytes outside of the Go heap where the system has such
// memory. It must be destroyed: nothing else frees it.
type secret struct {
	mu     sync.RWMutex // held for reading while the bytes are used
	memory []byte       // whole pages
	size   int
}

// newSecret copies from, which stays the caller's to clear.
func newSecret(from []byte) (*secret, error) {
	memory, err := allocate(len(from))
	if err != nil {
		return nil, err
	}
	copy(memory, from)
	return &secret{memory: memory, size: len(from)}, nil
}

// use calls with with the bytes, which are valid only until it returns.
func (s *secret) use(with func([]byte) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.memory == nil {
		return errForgotten
	}
	return with(s.memory[:s.size])
}

// destroy overwrites the bytes when they are no longer used.
func (s *secret) destroy() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.memory == nil {
		return
	}
	clear(s.memory)
	release(s.memory)
	s.memory = nil
}
