package agent

import (
	"time"

	"keyway/internal/policy"
	"keyway/internal/sshwire"
)

// list is SSH_AGENTC_REQUEST_IDENTITIES (RFC 9987 section 3.5). While the agent
// is locked it seems empty.
func (c *connection) list() []byte {
	now := time.Now()
	f := c.way.facts(policy.List, c.agent.hosts(), now)
	var shown []*held
	if c.agent.policy().Decide(f, nil).Verdict == policy.Allow {
		shown = c.offered(now)
	}
	answer := sshwire.AppendUint32([]byte{msgIdentities}, uint32(len(shown)))
	for _, h := range shown {
		answer = sshwire.AppendString(answer, h.key.Blob)
		answer = sshwire.AppendString(answer, h.key.Comment)
	}
	return answer
}

func (c *connection) offered(now time.Time) []*held {
	p, grants, canAsk := c.agent.policy(), c.agent.questions.grants(now), c.agent.questions.canAsk()
	var list []*held
	for _, h := range c.agent.keys.all() {
		if offered(p, c.way, h, c.agent.hosts(), canAsk, grants, now) {
			list = append(list, h)
		}
	}
	if last := c.way.last(); last != nil && !last.forwarding {
		c.agent.keys.bestFirst(list, c.agent.hosts().of(last.key).Fingerprint)
	}
	return list
}
