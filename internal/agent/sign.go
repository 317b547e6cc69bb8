package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/audit"
	"keyway/internal/policy"
	"keyway/internal/sshwire"
)

// sign handles SSH_AGENTC_SIGN_REQUEST (RFC 9987 section 3.6): facts, decision, question, log,
// signature, in this order.
func (c *connection) sign(ctx context.Context, r *sshwire.Reader) []byte {
	c.agent.signing.Add(1)
	defer c.agent.signing.Add(-1)
	blob, data, flags := r.String(), r.String(), r.Uint32()
	if err := r.End(); err != nil {
		c.refuse(c.event(audit.Sign, audit.Denied, policy.Decision{Reason: err.Error()}))
		return failure
	}
	h, err := c.find(ctx, canonical(blob))
	if err != nil {
		c.refuse(c.event(audit.Sign, audit.Denied, policy.Decision{Reason: err.Error()}))
		return failure
	}
	f := judgeSign(c.route, h, parseContent(data), c.agent.known(), time.Now())
	d := c.agent.policy().Decide(f, c.agent.questions.grants(f.When))
	if d = c.ask(ctx, f, d, h); d.Verdict != policy.Allow {
		c.refuse(c.signEvent(f, audit.Denied, d))
		return failure
	}
	sig, err := c.makeSignature(ctx, h, f, d, data, flags)
	if err != nil {
		d.Reason = err.Error()
		c.refuse(c.signEvent(f, audit.Failed, d))
		return failure
	}
	if f.Proven {
		c.agent.logins.signed(*c.route.last(), c.route.remote)
	}
	return sshwire.AppendString([]byte{msgSignature}, ssh.Marshal(sig))
}

// ask turns Ask into Allow or Deny. It also has the user confirm each use of a key that was added
// with ssh-add -c.
func (c *connection) ask(ctx context.Context, f policy.Facts, d policy.Decision, h *held) policy.Decision {
	if d.Verdict == policy.Deny || d.Verdict == policy.Allow && !h.confirm {
		return d
	}
	watched, stop := c.watch(ctx)
	defer stop()
	return c.agent.questions.resolve(watched, Question{
		Facts: f, Confirm: h.confirm, Grantable: policy.Grantable(f) && !h.confirm, Why: d.Reason,
	})
}

// makeSignature logs and then signs. A remote asker gets nothing that could not
// be logged.
func (c *connection) makeSignature(ctx context.Context, h *held, f policy.Facts, d policy.Decision, data []byte, flags uint32) (*ssh.Signature, error) {
	host := ""
	if f.Proven {
		host = f.To.Fingerprint
	}
	if err := c.agent.keys.use(h, host); err != nil {
		return nil, err
	}
	c.agent.used()
	e := c.signEvent(f, audit.Allowed, d)
	e.Upstream = h.upstream
	if err := c.agent.log(e); err != nil {
		c.agent.config.Logf("%v", err)
		if c.route.remote {
			return nil, errors.New("a remote asker's signature could not be logged")
		}
	}
	if h.upstream != "" {
		return c.signUpstream(ctx, h, data, flags)
	}
	if !h.key.OnSecurityKey() && h.key.Provider == "" {
		return h.key.Sign(ctx, data, flags)
	}
	return c.signOnDevice(ctx, h, data, flags)
}

// signOnDevice gives up when the asker does, and when the device is not touched in time.
func (c *connection) signOnDevice(ctx context.Context, h *held, data []byte, flags uint32) (*ssh.Signature, error) {
	watched, stop := c.watch(ctx)
	defer stop()
	limited, cancel := context.WithTimeout(watched, signWithin)
	defer cancel()
	sig, err := h.key.Sign(limited, data, flags)
	if err != nil {
		return nil, fmt.Errorf("the device did not sign: %w", err)
	}
	return sig, nil
}

func (c *connection) signEvent(f policy.Facts, verdict audit.Verdict, d policy.Decision) audit.Event {
	e := c.event(audit.Sign, verdict, d)
	e.Key, e.Comment = f.Key.Fingerprint, f.Key.Comment
	e.Purpose, e.User, e.Namespace = string(f.Purpose), f.User, f.Namespace
	if f.To.Known() {
		e.To, e.ToKey = f.To.String(), f.To.Fingerprint
	}
	return e
}
