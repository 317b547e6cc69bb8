package agent

import (
	"context"
	"time"

	"keyway/internal/audit"
	"keyway/internal/policy"
	"keyway/internal/sshwire"
)

// list handles SSH_AGENTC_REQUEST_IDENTITIES (RFC 9987 section 3.5). A locked agent answers as if
// it were empty.
func (c *connection) list(ctx context.Context) []byte {
	now := time.Now()
	f := c.route.facts(policy.List, c.agent.known(), now)
	var shown []*held
	if c.agent.policy().Decide(f, nil).Verdict == policy.Allow {
		shown = c.offered(ctx, now)
	}
	answer := sshwire.AppendUint32([]byte{msgIdentities}, uint32(len(shown)))
	for _, h := range shown {
		answer = sshwire.AppendString(answer, h.key.Blob)
		answer = sshwire.AppendString(answer, h.key.Comment)
	}
	return answer
}

// offered returns the keys that can be of use on the connection, best first. If none can, it
// writes that to the log: the asker will then not even request a signature.
func (c *connection) offered(ctx context.Context, now time.Time) []*held {
	a := c.agent
	o := offer{policy: a.policy(), grants: a.questions.grants(now), canAsk: a.questions.canAsk(), known: a.known(), now: now}
	var list []*held
	var useless audit.Event
	for _, h := range append(a.keys.all(), c.upstreamKeys(ctx)...) {
		if f, d := o.judge(c.route, h); d.Verdict == policy.Allow {
			list = append(list, h)
		} else {
			useless = c.signEvent(f, audit.Denied, d)
			useless.Event = audit.Offer
		}
	}
	last := c.route.last()
	if last == nil || last.forwarding {
		return list
	}
	if len(list) == 0 && useless.Event != "" {
		c.refuse(useless)
	}
	a.keys.bestFirst(list, o.known.of(last.key).Fingerprint)
	return list
}
