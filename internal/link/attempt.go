package link

import (
	"context"
	"strings"
	"sync"

	"keyway/internal/api"
	"keyway/internal/keyway"
)

// attempt is one try to bring a way up. Its listeners hear its news, and the
// first who answers a question answers it for all.
type attempt struct {
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when conn or err is set
	conn   *connection
	err    error

	mu        sync.Mutex
	listeners map[chan api.Event]bool // value: can answer questions
	waiting   int
	abandoned bool // all who waited have left
	question  *openQuestion
	unheard   string // a question that nobody was there for
}

type openQuestion struct {
	api.Question
	answer chan api.Answer
}

// news is how many events a listener may be behind before it misses some;
// questions are repeated to nobody, so they are never dropped (see ask).
const news = 64

// join adds one who waits; false if the attempt has been given up, so that it
// ends without an answer to anybody.
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

// leave ends the attempt when nobody waits for it any more.
func (a *attempt) leave(events chan api.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.listeners, events)
	if a.waiting--; a.waiting == 0 {
		a.abandoned = true
		a.cancel(context.Canceled)
	}
	if a.question != nil && len(a.listeners) == 0 {
		a.unheard = a.question.Prompt
		a.question.refuse()
	}
}

func (a *attempt) report(p keyway.Progress) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for l := range a.listeners {
		select {
		case l <- api.Event{Progress: &p}:
		default: // news may be missed; a slow terminal must not slow the copying
		}
	}
}

// ask puts a question to those who wait for the place. Without any, or when the
// last leaves, the answer is no.
func (a *attempt) ask(ctx context.Context, q api.Question) api.Answer {
	open := &openQuestion{Question: q, answer: make(chan api.Answer, 1)}
	a.mu.Lock()
	if len(a.listeners) == 0 || a.question != nil {
		a.unheard = q.Prompt
		a.mu.Unlock()
		return api.Answer{}
	}
	a.question = open
	for l := range a.listeners {
		select {
		case l <- api.Event{Question: &q}:
		default:
			<-l // the oldest news makes room
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

// asking says whether a question is open.
func (a *attempt) asking() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.question != nil
}

// answer gives the person's answer to the question of that id, if it is still
// open.
func (a *attempt) answer(id string, answer api.Answer) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.question == nil || a.question.ID != id {
		return false
	}
	select {
	case a.question.answer <- answer:
		return true
	default: // somebody else was quicker
		return false
	}
}

func (q *openQuestion) refuse() {
	select {
	case q.answer <- api.Answer{}:
	default:
	}
}

// needsAnswer is err, or that a question was asked which nobody heard: then the
// attempt has failed for no other reason.
func (a *attempt) needsAnswer(place keyway.Place, err error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.unheard == "" {
		return err
	}
	return keyway.Errorf(keyway.NeedsAnswer, "the ssh to %s asks, and nobody is there to answer: %s", place, strings.TrimSpace(a.unheard)).
		Hint("keyway status %s", place)
}
