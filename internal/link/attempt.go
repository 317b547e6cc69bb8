package link

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"keyway/internal/api"
	"keyway/internal/keyway"
)

// attempt is one try to bring an uplink up. All its listeners receive its events, and the first
// answer to a question is the answer for all.
type attempt struct {
	cancel context.CancelCauseFunc
	noKey  func() bool   // no agent that the ssh uses has a key
	done   chan struct{} // closed when conn or err is set
	conn   *connection
	err    error

	mu        sync.Mutex
	listeners map[chan api.Event]bool // value: whether it can answer questions
	waiting   int
	abandoned bool // every listener has left
	question  *openQuestion
	unheard   *api.Question // a question that no listener could answer
	dial      *sshRun       // the run under way
	words     []api.Words   // what hosts have said, each text once
	quiet     *time.Timer   // runs until words are passed on
	told      int           // the number of words that were passed on
}

type openQuestion struct {
	api.Question
	answer chan api.Answer
}

// news is the number of events that a listener may lag behind before it misses some. Questions
// are sent once only, so they are never dropped (see ask).
const news = 64

// join adds a listener. It returns false if the attempt has been abandoned, and will end without
// an answer.
func (a *attempt) join(events chan api.Event) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.abandoned {
		return false
	}
	a.waiting++
	if events != nil {
		a.listeners[events] = true
		if q := a.question; q != nil {
			events <- api.Event{Question: &q.Question}
		}
	}
	return true
}

// leave removes a listener. The attempt ends when its last one has left.
func (a *attempt) leave(events chan api.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.listeners, events)
	if a.waiting--; a.waiting == 0 {
		a.abandoned = true
		a.cancel(context.Canceled)
	}
	if a.question != nil && len(a.listeners) == 0 {
		a.unheard = &a.question.Question
		a.question.refuse()
	}
}

func (a *attempt) report(p keyway.Progress) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for l := range a.listeners {
		select {
		case l <- api.Event{Progress: &p}:
		default: // events may be dropped: a slow terminal must not delay the attempt
		}
	}
}

// ask sends a question to the listeners. If there are none, or the last one leaves, it returns no
// answer.
func (a *attempt) ask(ctx context.Context, q api.Question) api.Answer {
	q.NoKey = a.noKey()
	open := &openQuestion{Question: q, answer: make(chan api.Answer, 1)}
	a.mu.Lock()
	if len(a.listeners) == 0 || a.question != nil {
		a.unheard = &q
		a.mu.Unlock()
		return api.Answer{}
	}
	q.Said = a.saidLocked()
	open.Question = q
	a.question = open
	for l := range a.listeners {
		select {
		case l <- api.Event{Question: &q}:
		default:
			<-l // drop the oldest event to make room
			l <- api.Event{Question: &q}
		}
	}
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		a.question = nil
		a.mu.Unlock()
	}()
	select {
	case answer := <-open.answer:
		return answer
	case <-ctx.Done():
		return api.Answer{}
	}
}

// asking reports whether a question is open.
func (a *attempt) asking() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.question != nil
}

// answer delivers the user's answer to the question with that id, if the question is still open.
func (a *attempt) answer(id string, answer api.Answer) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.question == nil || a.question.ID != id {
		return false
	}
	select {
	case a.question.answer <- answer:
		return true
	default: // another answer came first
		return false
	}
}

func (q *openQuestion) refuse() {
	select {
	case q.answer <- api.Answer{}:
	default:
	}
}

// needsAnswer returns the error of an attempt that asked a question which no listener could
// answer: then that is the cause of the failure. Otherwise it returns err.
func (a *attempt) needsAnswer(u *uplink, err error) error {
	a.mu.Lock()
	q := a.unheard
	a.mu.Unlock()
	switch {
	case q == nil && keyway.Is(err, keyway.Denied) && u.agentIsEmpty():
		return keyway.Errorf(keyway.NoKey, "the agent is locked or holds no key: %w", err).Advise(keyway.UnlockNow)
	case q == nil:
		return err
	case strings.HasPrefix(q.Prompt, KeyQuestion) && u.agentIsEmpty():
		return keyway.Errorf(keyway.NoKey, "the agent is locked or holds no key, and the route to %s needs one", u.place).Advise(keyway.UnlockNow)
	}
	return keyway.Errorf(keyway.NeedsAnswer, "the ssh to %s asks for %s, and nobody is there to answer: “%s”", u.place, cmp.Or(q.Host, string(u.place)), brief(q.Prompt)).
		Advise(keyway.StatusNow, string(u.place))
}

// KeyQuestion begins ssh's own question for a key file's passphrase. Questions from a host begin
// with the host's name.
const KeyQuestion = "Enter passphrase for key "

// dialling is called with each ssh run.
func (a *attempt) dialling(d *sshRun) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.dial = d
}

// stage describes the stage that the attempt has reached; see sshRun.stage.
func (a *attempt) stage(place keyway.Place) string {
	a.mu.Lock()
	t := a.dial
	a.mu.Unlock()
	if t == nil {
		return string(place) + " has not been asked yet"
	}
	return t.stage(place)
}

const (
	// quietTime is the time for which a host's words are held back. A host's general greeting does
	// not matter to a user that is let in at once, but it may explain a wait.
	quietTime = time.Second
	// maxWords bounds the words of hosts that are kept, in bytes.
	maxWords = 16 << 10
)

// hear records a host's message.
func (a *attempt) hear(w api.Words) {
	a.mu.Lock()
	defer a.mu.Unlock()
	size := len(w.Text)
	for _, other := range a.words {
		size += len(other.Text)
	}
	if size > maxWords || isClosed(a.done) {
		return
	}
	if n := len(a.words); n > a.told && a.words[n-1].Host == w.Host {
		a.words[n-1].Text += w.Text
	} else {
		a.words = append(a.words, w)
	}
	if a.quiet == nil {
		a.quiet = time.AfterFunc(quietTime, a.pass)
	}
}

// pass sends the words of hosts to the listeners.
func (a *attempt) pass() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.quiet = nil
	if isClosed(a.done) {
		return
	}
	for _, w := range a.words[a.told:] {
		for l := range a.listeners {
			select {
			case l <- api.Event{Words: &w}:
			default:
			}
		}
	}
	a.told = len(a.words)
}

// saidLocked returns all words of hosts, also those that came with a question. ssh writes these
// where it writes its own messages.
func (a *attempt) saidLocked() []api.Words {
	said := slices.Clone(a.words)
	if a.dial != nil {
		for _, h := range a.dial.route() {
			if text := h.instruction(); text != "" {
				said = append(said, api.Words{Host: h.name, Text: text})
			}
		}
	}
	a.told = len(a.words) // they are sent with the question
	return said
}
