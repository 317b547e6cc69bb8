package agent

import (
	"context"
	"errors"
	"time"

	"keyway/internal/audit"
	"keyway/internal/policy"
	"keyway/internal/sshwire"
)

// SessionAnswer is the agent's decision about one more session.
type SessionAnswer struct {
	Allowed bool   `json:"allowed"`
	Reason  string `json:"reason,omitempty"`
}

// session decides whether a program of this machine may have one more session, or forwarding,
// on a connection that keyway's mux holds. A session there is equivalent to a login, so it has
// the same conditions: the asking connection is bound to the host, the agent still holds the
// key that logged in, and the policy allows both the login and the session. The user is not
// asked: a refused program logs in by itself, and the questions come then.
func (c *connection) session(ctx context.Context, r *sshwire.Reader) []byte {
	blob, user, pid := r.String(), r.Text(), r.Uint32()
	if err := r.End(); err != nil {
		return extFailure
	}
	asker := peer{pid: int(pid), known: true}
	f, d := c.judgeSession(ctx, blob, user, asker)
	e := c.signEvent(f, audit.Denied, d)
	e.Event, e.PID, e.Program = audit.Session, asker.pid, asker.program()
	if d.Verdict == policy.Allow {
		e.Verdict = audit.Allowed
		if err := c.agent.log(e); err != nil {
			return jsonResponse(extSession, SessionAnswer{Reason: "it could not be logged"})
		}
		c.agent.used()
		return jsonResponse(extSession, SessionAnswer{Allowed: true})
	}
	if c.route.remote {
		c.refuse(e) // it is not asking but trying
		return extFailure
	}
	c.agent.noteRefusal(e)
	return jsonResponse(extSession, SessionAnswer{Reason: d.Reason})
}

func (c *connection) judgeSession(ctx context.Context, blob []byte, user string, asker peer) (policy.Facts, policy.Decision) {
	f := policy.Facts{Op: policy.Sign, Purpose: policy.Session, User: user}
	deny := func(why string) (policy.Facts, policy.Decision) {
		return f, policy.Decision{Rule: "built in: session", Reason: why}
	}
	last := c.route.last()
	if last == nil || last.forwarding || len(c.route.binds) != 1 {
		return deny("a program that asks for a session shows to which host, and to one only")
	}
	h, err := c.find(ctx, canonical(blob))
	if err != nil {
		return deny(err.Error())
	}
	f = judgeSign(c.route, h, content{purpose: policy.Login, user: user, key: h.key.Blob, session: last.session}, c.agent.known(), time.Now())
	p := c.agent.policy()
	login := p.Decide(f, c.agent.questions.grants(f.When))
	f.Purpose, f.Programs = policy.Session, asker.programs()
	if err := c.unasked(h); err != nil {
		return deny(err.Error())
	}
	if login.Verdict != policy.Allow {
		return f, policy.Decision{Rule: login.Rule, Reason: "the login would not be allowed unasked: " + login.Reason}
	}
	d := p.Decide(f, nil)
	if d.Verdict == policy.Ask {
		d.Verdict = policy.Deny
	}
	return f, d
}

// unasked returns the reason for which a key needs a person for each signature; nil if it does
// not.
func (c *connection) unasked(h *held) error {
	_, _, limited := c.agent.keys.limits(h)
	switch {
	case h.confirm:
		return errors.New("each use of the key must be confirmed")
	case h.key.OnSecurityKey() || h.key.Provider != "":
		return errors.New("the key is on a device that may require a touch for each use")
	case h.upstream != "":
		return errors.New("the key is another agent's, which may ask for each use")
	case limited:
		return errors.New("the number of the key's signatures is limited")
	}
	return nil
}
