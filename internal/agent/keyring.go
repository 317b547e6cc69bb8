package agent

import (
	"bytes"
	"cmp"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"slices"
	"sync"
	"time"

	"keyway/internal/identity"
)

// held is a key with its constraints. It does not change once it is in the keyring, except for the
// fields that are marked as under the keyring's lock.
type held struct {
	key          *identity.Key
	dies         time.Duration // uptime; 0: never; under the lock
	confirm      bool
	destinations []destination
	restriction  []byte // the destinations as they came

	signsLeft uint32 // under the lock; meaningful if limited
	limited   bool   //
	shared    bool   // its signer belongs to another key or to a card
	upstream  string // the socket of the agent that holds it; empty: this one
}

// usage is of a key, by its fingerprint, for a host, by its host key's.
type usage struct{ key, host string }

const maxUsages = 4096

// keyring is the state that all connections of an agent share.
type keyring struct {
	uptime func() time.Duration

	mu     sync.Mutex
	keys   []*held
	uses   uint64
	usedAt map[usage]uint64 // → when, counted in uses, for the order of lists
	cards  map[string]*identity.Card
	locked bool
	salt   [16]byte
	hash   []byte

	unlocking sync.Mutex // one attempt at a time, or the delay would be none
	failures  int        // under unlocking
}

var (
	errLocked   = errors.New("the agent is locked")
	errNoKey    = errors.New("the agent does not hold this key")
	errTooMany  = errors.New("the agent holds too many keys")
	errUsedUp   = errors.New("the key has made all signatures that it was added for")
	errPassword = errors.New("the password is wrong, or there is nothing to unlock")
)

// all returns the keys in the order in which they were added.
func (k *keyring) all() []*held {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.expireLocked()
	if k.locked {
		return nil
	}
	return slices.Clone(k.keys)
}

// find returns the key with a public half.
func (k *keyring) find(blob []byte) (*held, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.expireLocked()
	if k.locked {
		return nil, errLocked
	}
	if i := k.indexLocked(blob); i >= 0 {
		return k.keys[i], nil
	}
	return nil, errNoKey
}

func (k *keyring) indexLocked(blob []byte) int {
	return slices.IndexFunc(k.keys, func(h *held) bool { return bytes.Equal(h.key.Blob, blob) })
}

// add adds h. It replaces the same key if mayReplace permits it.
func (k *keyring) add(h *held, mayReplace func(*held) bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.expireLocked()
	if k.locked {
		return errLocked
	}
	i := k.indexLocked(h.key.Blob)
	switch {
	case i < 0 && len(k.keys) >= maxKeys:
		return errTooMany
	case i < 0:
		k.keys = append(k.keys, h)
		return nil
	case !mayReplace(k.keys[i]):
		return errNoKey
	}
	k.keys[i].forget()
	k.keys[i] = h
	return nil
}

func (h *held) forget() {
	if !h.shared {
		h.key.Destroy()
	}
}

// remove forgets the keys for which gone returns true, and returns their number.
func (k *keyring) remove(gone func(*held) bool) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.expireLocked()
	if k.locked {
		return 0, errLocked
	}
	return k.removeLocked(gone), nil
}

func (k *keyring) removeLocked(gone func(*held) bool) int {
	before := len(k.keys)
	k.keys = slices.DeleteFunc(k.keys, func(h *held) bool {
		if !gone(h) {
			return false
		}
		h.forget()
		return true
	})
	return before - len(k.keys)
}

// clear forgets every key and ends every card, locked or not.
func (k *keyring) clear() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := k.removeLocked(func(*held) bool { return true })
	for path, card := range k.cards {
		card.Close()
		delete(k.cards, path)
	}
	return n
}

// expireLocked forgets the keys that have expired, and returns the time until the next one expires;
// 0 if none does.
func (k *keyring) expireLocked() time.Duration {
	now := k.uptime()
	k.removeLocked(func(h *held) bool { return h.dies != 0 && now >= h.dies })
	var next time.Duration
	for _, h := range k.keys {
		if left := h.dies - now; h.dies != 0 && (next == 0 || left < next) {
			next = left
		}
	}
	return next
}

// shorten makes the agent forget the keys with the fingerprint after life. It changes nothing and
// reports false if there is no such key, or one that is forgotten sooner.
func (k *keyring) shorten(fingerprint string, life time.Duration) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.expireLocked()
	dies, found := k.uptime()+life, false
	for _, h := range k.keys {
		if h.key.Fingerprint != fingerprint {
			continue
		}
		if h.dies != 0 && h.dies < dies {
			return false
		}
		found = true
	}
	for _, h := range k.keys {
		if h.key.Fingerprint == fingerprint && found {
			h.dies = dies
		}
	}
	return found
}

func (k *keyring) expire() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.expireLocked()
}

// use counts a signature of h and remembers where it went.
func (k *keyring) use(h *held, host string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.locked {
		return errLocked
	}
	if h.limited && h.signsLeft == 0 {
		return errUsedUp
	}
	if h.limited {
		h.signsLeft--
	}
	if host == "" {
		return nil
	}
	if k.usedAt == nil || len(k.usedAt) >= maxUsages {
		k.usedAt = map[usage]uint64{}
	}
	k.uses++
	k.usedAt[usage{h.key.Fingerprint, host}] = k.uses
	return nil
}

// bestFirst orders keys for a host: those made for certain destinations, then
// those that signed for it before, the last first, then as they came.
func (k *keyring) bestFirst(keys []*held, host string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	slices.SortStableFunc(keys, func(a, b *held) int {
		if (len(a.destinations) > 0) != (len(b.destinations) > 0) {
			if len(a.destinations) > 0 {
				return -1
			}
			return 1
		}
		return cmp.Compare(k.usedAt[usage{b.key.Fingerprint, host}], k.usedAt[usage{a.key.Fingerprint, host}])
	})
}

// addCard keeps card until removeCard. One of the same provider is ended.
func (k *keyring) addCard(provider string, card *identity.Card) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cards == nil {
		k.cards = map[string]*identity.Card{}
	}
	if old := k.cards[provider]; old != nil {
		old.Close()
	}
	k.cards[provider] = card
}

func (k *keyring) removeCard(provider string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.locked {
		return errLocked
	}
	k.removeLocked(func(h *held) bool { return h.shared && h.key.Provider == provider })
	card := k.cards[provider]
	if card == nil {
		return errors.New("this provider is not loaded")
	}
	card.Close()
	delete(k.cards, provider)
	return nil
}

func (k *keyring) isLocked() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.locked
}

const lockRounds = 20_000

func (k *keyring) derive(password []byte) ([]byte, error) {
	return pbkdf2.Key(sha256.New, string(password), k.salt[:], lockRounds, sha256.Size)
}

// lock makes the agent as if it held nothing, until the password comes again.
func (k *keyring) lock(password []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.locked || len(password) == 0 {
		return errors.New("the agent is locked already, or the password is empty")
	}
	rand.Read(k.salt[:])
	var err error
	k.hash, err = k.derive(password)
	k.locked = err == nil
	return err
}

// unlock ends the lock. After a wrong password it says how long the asker has to wait for the
// answer: 100 ms for each failure in a row, at most ten seconds. Other askers need not wait, except
// for those that also unlock: their next attempt begins after wait has returned.
func (k *keyring) unlock(password []byte, wait func(time.Duration)) error {
	k.unlocking.Lock()
	defer k.unlocking.Unlock()
	if !k.isLocked() {
		return errPassword
	}
	if k.tryUnlock(password) {
		k.failures = 0
		return nil
	}
	if k.failures < 100 {
		k.failures++
	}
	wait(time.Duration(k.failures) * 100 * time.Millisecond)
	return errPassword
}

func (k *keyring) tryUnlock(password []byte) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.locked || len(password) == 0 {
		return false
	}
	hash, err := k.derive(password)
	if err != nil || subtle.ConstantTimeCompare(hash, k.hash) != 1 {
		return false
	}
	k.locked = false
	clear(k.hash)
	return true
}
