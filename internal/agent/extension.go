package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"keyway/internal/audit"
	"keyway/internal/policy"
	"keyway/internal/sshwire"
)

// extension handles SSH_AGENTC_EXTENSION (RFC 9987 section 3.8).
func (c *connection) extension(ctx context.Context, r *sshwire.Reader) []byte {
	name := r.Text()
	if r.Err() != nil {
		return failure
	}
	switch name {
	case extSessionBind:
		return c.bind(r)
	case extQuery:
		return c.query()
	case extSession:
		return c.session(ctx, r)
	case extKeys, extQuestions, extAnswer, extForget, extWatch, extLifetime:
		return c.manage(ctx, name, r)
	}
	return failure
}

// query names the extensions that every asker may use (RFC 9987 section 3.8.1).
func (c *connection) query() []byte {
	answer := sshwire.AppendString([]byte{msgExtResponse}, extQuery)
	answer = sshwire.AppendString(answer, extQuery)
	return sshwire.AppendString(answer, extSessionBind)
}

// bind records a host that proves itself. It is recorded while the agent is
// locked too: a forwarding that is opened then would look local later.
func (c *connection) bind(r *sshwire.Reader) []byte {
	err := c.route.take(parseBind(r))
	if err != nil {
		c.refuse(c.event(audit.Bind, audit.Denied, policy.Decision{Rule: "built in: verification", Reason: err.Error()}))
		return extFailure
	}
	if c.route.remote {
		c.agent.turnRemote(c)
	}
	return success
}

// manage serves keyway's own commands, on this machine only.
func (c *connection) manage(ctx context.Context, name string, r *sshwire.Reader) []byte {
	d := c.agent.policy().Decide(c.route.facts(policy.Manage, c.agent.known(), time.Now()), nil)
	if len(c.route.binds) > 0 || c.route.untrusted != "" {
		d = policy.Decision{Reason: "only a program of this machine that is not an SSH client may ask this"}
	}
	if d.Verdict != policy.Allow || c.agent.keys.isLocked() {
		c.refuse(c.event(audit.Manage, audit.Denied, d))
		return extFailure
	}
	var result any
	var err error
	switch name {
	case extKeys:
		result = c.describeKeys(ctx)
	case extQuestions:
		result, err = c.nextQuestions(ctx, r)
	case extAnswer:
		result, err = c.takeAnswer(r)
	case extForget:
		result, err = c.forgetOn(r)
	case extWatch:
		result, err = c.watchFile(r)
	case extLifetime:
		result, err = c.shorten(r)
	}
	if err != nil {
		return extFailure
	}
	return jsonResponse(name, result)
}

func jsonResponse(name string, result any) []byte {
	body, err := json.Marshal(result)
	if err != nil || len(body) > maxMessage-firstChunk {
		return extFailure
	}
	return sshwire.AppendString(sshwire.AppendString([]byte{msgExtResponse}, name), body)
}

// KeyInfo describes a held key.
type KeyInfo struct {
	Type         string    `json:"type"`
	Fingerprint  string    `json:"fingerprint"`
	Comment      string    `json:"comment"`
	Blob         []byte    `json:"blob"`
	Until        time.Time `json:"until,omitzero"`   // when it is forgotten
	Expires      time.Time `json:"expires,omitzero"` // when its certificate ends
	Confirm      bool      `json:"confirm,omitempty"`
	SignsLeft    *uint32   `json:"signsLeft,omitempty"`
	Provider     string    `json:"provider,omitempty"`
	Destinations []Step    `json:"destinations,omitempty"`
	Upstream     string    `json:"upstream,omitempty"` // the agent that holds it, if it is another
	ForgetOn     []string  `json:"forgetOn,omitempty"` // what else makes the agent forget it: idle=TIME, sleep, screen-lock
	File         string    `json:"file,omitempty"`     // the file with which it goes
}

// Step is one destination of a key. An empty From is this machine.
type Step struct {
	From string `json:"from,omitempty"`
	To   string `json:"to"`
	User string `json:"user,omitempty"`
}

func (c *connection) describeKeys(ctx context.Context) []KeyInfo {
	list := []KeyInfo{}
	for _, h := range append(c.agent.keys.all(), c.upstreamKeys(ctx)...) {
		list = append(list, c.agent.describeKey(h))
	}
	return list
}

func (a *Agent) describeKey(h *held) KeyInfo {
	info := KeyInfo{
		Type: h.key.Public.Type(), Fingerprint: h.key.Fingerprint, Comment: h.key.Comment, Blob: h.key.Blob,
		Confirm: h.confirm, Provider: h.key.Provider, Upstream: h.upstream,
	}
	dies, left, limited := a.keys.limits(h)
	if dies != 0 {
		info.Until = time.Now().Add(dies - a.config.uptime()).Round(time.Second)
	}
	if cert := h.key.Certificate(); cert != nil && cert.ValidBefore < 1<<40 {
		info.Expires = time.Unix(int64(cert.ValidBefore), 0)
	}
	if limited {
		info.SignsLeft = &left
	}
	if f := a.triggers(); f != (policy.Forget{}) && h.upstream == "" {
		info.ForgetOn = f.Words()
	}
	info.File = a.files.of(h.key.Fingerprint)
	for _, d := range h.destinations {
		info.Destinations = append(info.Destinations, Step{From: d.from.name, To: d.to.name, User: d.to.user})
	}
	return info
}

func (k *keyring) limits(h *held) (dies time.Duration, signsLeft uint32, limited bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return h.dies, h.signsLeft, h.limited
}

// OpenQuestion is a question as keyway approve shows it.
type OpenQuestion struct {
	ID        uint64 `json:"id"`
	Text      string `json:"text"`
	Grantable bool   `json:"grantable"`
}

// nextQuestions waits for questions other than those whose numbers follow.
func (c *connection) nextQuestions(ctx context.Context, r *sshwire.Reader) ([]OpenQuestion, error) {
	var known []uint64
	for range maxTotalPending {
		if !r.More() {
			break
		}
		known = append(known, uint64(r.Uint32()))
	}
	if err := r.End(); err != nil {
		return nil, err
	}
	watched, stop := c.watch(ctx)
	defer stop()
	list := []OpenQuestion{}
	for _, q := range c.agent.questions.board.next(watched, known, c.agent.freezing) {
		list = append(list, OpenQuestion{q.ID, q.Text(), q.Grantable})
	}
	return list, nil
}

// Warning is a message about a request that was carried out nevertheless.
type Warning struct {
	Warning string `json:"warning,omitempty"`
}

// forgetOn reads the triggers on which keys are forgotten, which hold in the
// place of the policy's as long as the agent runs.
func (c *connection) forgetOn(r *sshwire.Reader) (w Warning, err error) {
	words := strings.Split(r.Text(), ",")
	if err := r.End(); err != nil {
		return w, err
	}
	f, err := policy.ParseForget(words)
	if err != nil {
		return w, err
	}
	c.agent.forgetOn(f)
	c.agent.note(audit.Event{Event: audit.Forget, Verdict: audit.Allowed, Reason: "keys are forgotten on " + strings.Join(f.Words(), ", "), Request: audit.Request{Connection: c.number, PID: c.peer.pid, Program: c.peer.program()}})
	if f.ScreenLock {
		if err := canFollowLogind(); err != nil {
			w.Warning = err.Error()
		}
	}
	return w, nil
}

// Shortened reports whether a key is forgotten within the time that was asked for.
type Shortened struct {
	Done bool `json:"done"`
}

// shorten reads a key's fingerprint and for how many seconds it stays. It never makes a time
// longer: for that, the key has to be added again.
func (c *connection) shorten(r *sshwire.Reader) (s Shortened, err error) {
	fingerprint, life := r.Text(), time.Duration(r.Uint32())*time.Second
	if err := r.End(); err != nil {
		return s, err
	}
	if s.Done = life > 0 && c.agent.keys.shorten(fingerprint, life); s.Done {
		c.agent.note(audit.Event{Event: audit.Lifetime, Verdict: audit.Allowed, Reason: fmt.Sprintf("forgotten after %v", life), Request: audit.Request{Key: fingerprint, Connection: c.number, PID: c.peer.pid, Program: c.peer.program()}})
	}
	return s, nil
}

// takeAnswer reads the number of a question, 1 for yes, and for how many seconds
// it holds (0: once; the largest number: as long as the agent runs).
func (c *connection) takeAnswer(r *sshwire.Reader) (struct{}, error) {
	id, yes, seconds := r.Uint32(), r.Byte(), r.Uint32()
	if err := r.End(); err != nil {
		return struct{}{}, err
	}
	a := Answer{Allow: yes == 1, By: "keyway approve"}
	if seconds == everSeconds {
		a.Ever = true
	} else {
		a.For = time.Duration(seconds) * time.Second
	}
	err := c.agent.questions.board.answer(uint64(id), a)
	c.agent.note(audit.Event{Event: audit.Answer, Reason: "keyway approve", Request: audit.Request{Connection: c.number, PID: c.peer.pid, Program: c.peer.program()}})
	return struct{}{}, err
}

// everSeconds stands for as long as the agent runs.
const everSeconds = 1<<32 - 1
