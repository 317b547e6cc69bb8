package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"keyway/internal/policy"
)

// Question is a question to the user.
type Question struct {
	ID        uint64
	Facts     policy.Facts
	Confirm   bool   // the key wants every use confirmed
	Grantable bool   // the answer may hold for a while
	Why       string // why it is asked
}

// Text returns the question in words for people. Words that the asker chose are quoted.
func (q Question) Text() string {
	text := fmt.Sprintf("%s asks to %s with the key %s.", q.Facts.Who(), q.Facts.What(), q.Facts.Key)
	if q.Facts.Key.Comment != "" {
		text = fmt.Sprintf("%s asks to %s with the key %q (%s).", q.Facts.Who(), q.Facts.What(), q.Facts.Key.Comment, q.Facts.Key.Fingerprint)
	}
	if q.Facts.Proven {
		text += "\nThe destination is verified."
	}
	return text + "\nAllow it?"
}

// Asker asks the user. It returns when ctx ends: the asker has hung up, or
// another has answered.
type Asker interface {
	// CanAsk reports whether a user can be asked.
	CanAsk() bool
	Ask(ctx context.Context, q Question) (Answer, error)
}

// dialog asks by the first of its askers that can, and one question at a time:
// windows that cover one another are answered by mistake.
type dialog struct {
	askers []Asker
	turn   chan struct{} // holds one while a question is asked
	remote chan struct{} // holds one while a remote asker's question has its turn, or is next
}

func newDialog(askers []Asker) *dialog {
	return &dialog{askers, make(chan struct{}, 1), make(chan struct{}, 1)}
}

// CanAsk reports whether one of them can.
func (d *dialog) CanAsk() bool { return slices.ContainsFunc(d.askers, Asker.CanAsk) }

// Ask waits for its turn. A question from this machine waits for one of a remote asker
// at most, however many of those there are.
func (d *dialog) Ask(ctx context.Context, q Question) (Answer, error) {
	turns := []chan struct{}{d.turn}
	if q.Facts.Remote {
		turns = []chan struct{}{d.remote, d.turn}
	}
	for _, turn := range turns {
		select {
		case turn <- struct{}{}:
			defer func() { <-turn }()
		case <-ctx.Done():
			return Answer{}, context.Cause(ctx)
		}
	}
	i := slices.IndexFunc(d.askers, Asker.CanAsk)
	if i < 0 {
		return Answer{}, errors.New("nobody can be asked any more")
	}
	return d.askers[i].Ask(ctx, q)
}

// questions brings requests and the user together.
type questions struct {
	askers []Asker
	board  board // for keyway approve

	mu      sync.Mutex
	given   []policy.Grant
	pending map[policy.Scope]*pending
	recent  []raised // by remote askers, in the last minute
	nextID  uint64
}

// raised records when a remote asker raised a question. Only the first hop of an asker is
// certain. Askers without a first hop, or with an unverified one, count as one.
type raised struct {
	from string
	when time.Time
}

func raiser(f policy.Facts) string {
	if f.FromClaimed {
		return ""
	}
	return f.From.Fingerprint
}

// pending is a question that is being asked, for all requests of the same scope.
type pending struct {
	done   chan struct{}
	from   string // who raised it
	remote bool
	answer policy.Decision // once done
	wait   int             // requests that want the answer
	cancel context.CancelFunc
}

const maxGrants = 1000

// canAsk reports whether a user can be asked.
func (q *questions) canAsk() bool {
	return slices.ContainsFunc(q.askers, Asker.CanAsk)
}

// grants returns the answers that are in force.
func (q *questions) grants(now time.Time) []policy.Grant {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.given = slices.DeleteFunc(q.given, func(g policy.Grant) bool { return !g.Until.IsZero() && !now.Before(g.Until) })
	return slices.Clone(q.given)
}

// resolve asks the user, or finds a reason not to.
func (q *questions) resolve(ctx context.Context, question Question) policy.Decision {
	deny := func(reason string) policy.Decision {
		return policy.Decision{Verdict: policy.Deny, Rule: "ask", Reason: reason}
	}
	if !q.canAsk() {
		return deny("it has to be asked, and nobody can be: " + question.Why)
	}
	p, mine, reason := q.join(&question)
	if reason != "" {
		return deny(reason)
	}
	if mine {
		// Joined below: done is closed when it ends.
		go q.run(question, p)
	}
	select {
	case <-p.done:
		q.leave(question, p)
		return p.answer
	case <-ctx.Done():
		q.leave(question, p)
		<-p.done
		return deny("the asker did not wait for the answer")
	}
}

// join finds the open question of the same scope, or begins one. Only a question whose answer may
// hold for a while is shared: a request that is not proven is asked about each time.
func (q *questions) join(question *Question) (p *pending, mine bool, reason string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	scope := policy.ScopeOf(question.Facts)
	if p := q.pending[scope]; p != nil && question.Grantable {
		p.wait++
		return p, false, ""
	}
	if !q.hasQuotaLocked(question.Facts) || q.pending[scope] != nil {
		return nil, false, "too many questions are open"
	}
	if !q.mayRaiseLocked(question.Facts) {
		return nil, false, "this asker raises too many questions"
	}
	if q.pending == nil {
		q.pending = map[policy.Scope]*pending{}
	}
	p = &pending{done: make(chan struct{}), wait: 1, remote: question.Facts.Remote, from: raiser(question.Facts)}
	q.pending[scope] = p
	q.nextID++
	question.ID = q.nextID
	return p, true, ""
}

// hasQuotaLocked keeps places for questions from this machine, and for other askers than
// the one with the most.
func (q *questions) hasQuotaLocked(f policy.Facts) bool {
	if !f.Remote {
		return len(q.pending) < maxTotalPending
	}
	remote, mine := 0, 0
	for _, p := range q.pending {
		if p.remote {
			remote++
			if p.from == raiser(f) {
				mine++
			}
		}
	}
	return remote < maxRemotePending && mine < maxPending
}

// mayRaiseLocked limits what remote askers may ask in a minute, each and all together.
func (q *questions) mayRaiseLocked(f policy.Facts) bool {
	if !f.Remote {
		return true
	}
	q.recent = slices.DeleteFunc(q.recent, func(r raised) bool { return f.When.Sub(r.when) > time.Minute })
	mine := 0
	for _, r := range q.recent {
		if r.from == raiser(f) {
			mine++
		}
	}
	if mine >= maxPerMinute || len(q.recent) >= maxAllPerMinute {
		return false
	}
	q.recent = append(q.recent, raised{raiser(f), f.When})
	return true
}

// leave ends the question when the last one that wanted its answer has gone.
func (q *questions) leave(question Question, p *pending) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if p.wait--; p.wait == 0 && p.cancel != nil {
		p.cancel()
	}
}

func (q *questions) run(question Question, p *pending) {
	defer close(p.done)
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	q.mu.Lock()
	p.cancel = cancel
	if p.wait == 0 {
		cancel() // all of them went before it began
	}
	q.mu.Unlock()
	answer, err := q.firstAnswer(ctx, question)
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.pending, policy.ScopeOf(question.Facts))
	p.answer = q.recordLocked(question, answer, err)
}

// firstAnswer asks in every way that can reach the user, and returns the first answer.
func (q *questions) firstAnswer(ctx context.Context, question Question) (Answer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type said struct {
		answer Answer
		err    error
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	all := make(chan said, len(q.askers))
	asked := 0
	for _, a := range q.askers {
		if !a.CanAsk() {
			continue
		}
		asked++
		wg.Go(func() {
			answer, err := a.Ask(ctx, question)
			all <- said{answer, err}
		})
	}
	err := errors.New("nobody can be asked")
	for range asked {
		s := <-all
		if s.err == nil {
			return s.answer, nil
		}
		err = s.err
	}
	return Answer{}, err
}

func (q *questions) recordLocked(question Question, a Answer, err error) policy.Decision {
	if err != nil {
		return policy.Decision{Verdict: policy.Deny, Rule: "ask", Reason: "no answer: " + err.Error()}
	}
	d := policy.Decision{Verdict: policy.Deny, Rule: "answer", Reason: "the user denied it (" + a.By + ")"}
	g := policy.Grant{Scope: policy.ScopeOf(question.Facts), Verdict: policy.Deny}
	hold := a.For
	if a.Allow {
		d.Verdict, d.Reason, g.Verdict = policy.Allow, "the user allowed it ("+a.By+")", policy.Allow
	} else {
		hold = max(hold, denyHolds)
	}
	g.Reason = d.Reason
	keep := !question.Confirm && (question.Grantable && (hold > 0 || a.Ever) || !a.Allow)
	if keep && len(q.given) < maxGrants {
		if !a.Ever {
			g.Until = time.Now().Add(hold)
		}
		q.given = append(q.given, g)
	}
	return d
}

// board shows open questions to clients that answer them elsewhere.
type board struct {
	mu       sync.Mutex
	watchers int
	back     time.Time // until then, a watcher that was given questions is expected again
	open     map[uint64]*posted
	changed  chan struct{} // closed at the next change
}

type posted struct {
	question Question
	answer   chan Answer
}

// between is the time that a watcher may take, on a busy machine, from one answer to its next
// request. A question that comes meanwhile is kept for it.
const between = 5 * time.Second

// CanAsk reports whether a client watches.
func (b *board) CanAsk() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.watchers > 0 || time.Now().Before(b.back)
}

// Ask shows the question until it is answered.
func (b *board) Ask(ctx context.Context, q Question) (Answer, error) {
	p := &posted{question: q, answer: make(chan Answer, 1)}
	b.mu.Lock()
	if b.open == nil {
		b.open = map[uint64]*posted{}
	}
	b.open[q.ID] = p
	b.changeLocked()
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.open, q.ID)
		b.changeLocked()
	}()
	select {
	case a := <-p.answer:
		return a, nil
	case <-ctx.Done():
		return Answer{}, context.Cause(ctx)
	}
}

func (b *board) changeLocked() {
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

// next waits until there are questions other than known, and gives them all. While it waits, it
// counts as a watcher. It ends early when stop is closed.
func (b *board) next(ctx context.Context, known []uint64, stop <-chan struct{}) []Question {
	b.mu.Lock()
	b.watchers++
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		b.watchers--
		b.mu.Unlock()
	}()
	for {
		b.mu.Lock()
		list, fresh := b.listLocked(known)
		if b.changed == nil {
			b.changed = make(chan struct{})
		}
		changed := b.changed
		if fresh {
			b.back = time.Now().Add(between)
		}
		b.mu.Unlock()
		if fresh {
			return list
		}
		select {
		case <-changed:
		case <-stop:
			return list
		case <-ctx.Done(): // it does not come back
			b.mu.Lock()
			b.back = time.Time{}
			b.mu.Unlock()
			return nil
		}
	}
}

// listLocked returns the open questions, oldest first, and whether they differ from known.
func (b *board) listLocked(known []uint64) (list []Question, fresh bool) {
	for _, p := range b.open {
		list = append(list, p.question)
		fresh = fresh || !slices.Contains(known, p.question.ID)
	}
	slices.SortFunc(list, func(x, y Question) int { return int(x.ID) - int(y.ID) })
	return list, fresh || len(list) != len(known)
}

func (b *board) answer(id uint64, a Answer) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.open[id]
	if p == nil {
		return errors.New("this question is not open any more")
	}
	select {
	case p.answer <- a:
	default: // another answer was faster
	}
	return nil
}
