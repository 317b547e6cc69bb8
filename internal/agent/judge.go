package agent

import (
	"bytes"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/identity"
	"keyway/internal/policy"
)

// route has the hosts that a connection has proved or claimed. It only grows.
type route struct {
	remote    bool   // a latch: the first bind, or the socket, sets it permanently
	far       bool   // through the socket for forwarding: no program on this machine has made the first bind
	binds     []bind // verified, in order
	untrusted string // why nothing said on this connection can be believed any more
}

// take adds a bind that was read, or the reason why it could not be. A bind that does not verify,
// or contradicts an earlier one, makes the route untrusted permanently, so that no asker can try
// again.
func (r *route) take(b bind, err error) error {
	binds := r.binds
	if err == nil {
		binds, err = addBind(binds, b)
	}
	if err != nil {
		if r.untrusted == "" {
			r.untrusted = err.Error()
		}
		return err
	}
	r.binds = binds
	r.remote = r.remote || binds[0].forwarding
	return nil
}

// last returns the bind that a login must be for, or nil.
func (r route) last() *bind {
	if len(r.binds) == 0 {
		return nil
	}
	return &r.binds[len(r.binds)-1]
}

// naming returns the user's names for the host with a key.
type naming func(ssh.PublicKey) policy.Host

func (n naming) of(key ssh.PublicKey) policy.Host {
	var h policy.Host
	if n != nil {
		h = n(key)
	}
	h.Fingerprint = identity.Fingerprint(key)
	return h
}

// known is the agent's own knowledge, besides the connection's route.
type known struct {
	naming         // what the user calls a host
	logins *logins // where the agent has signed logins; nil: nowhere
}

// facts returns the facts that hold for every request on the connection.
func (r route) facts(op policy.Op, k known, now time.Time) policy.Facts {
	f := policy.Facts{Op: op, When: now, Remote: r.remote}
	if r.untrusted != "" && op == policy.Sign {
		f.Violation = "this connection cannot be believed: " + r.untrusted
	}
	switch {
	case !r.remote:
		return f
	case len(r.binds) == 0 || !r.binds[0].forwarding:
		// Through the socket for forwarding, by a client that does not say where from.
		f.FromClaimed, f.Unverified, f.Route = true, []policy.Host{{}}, routeOf(r.binds)
		return f
	}
	// The first bind of a forwarding is of the user's own ssh, whichever way the user
	// logged in. Only through the socket for forwarding may it come from far away, if
	// the client that forwards makes none; there a login tells that the session is the
	// user's. All later ones come through the hosts before them, which can make a route
	// look longer, never lead elsewhere at its end.
	f.From = k.of(r.binds[0].key)
	f.FromClaimed = r.far && !k.logins.hasLocal(r.binds[0])
	var unverified []bind
	if f.FromClaimed {
		f.Unverified, unverified = []policy.Host{f.From}, r.binds[:1:1]
	}
	for _, b := range r.binds[1:] {
		if !b.forwarding {
			continue
		}
		h := k.of(b.key)
		f.Claimed = append(f.Claimed, h)
		if !k.logins.has(b) {
			f.Unverified, unverified = append(f.Unverified, h), append(unverified, b)
		}
	}
	f.Route = routeOf(unverified)
	return f
}

// judgeSign turns a request for a signature into facts.
func judgeSign(r route, h *held, c content, k known, now time.Time) policy.Facts {
	f := r.facts(policy.Sign, k, now)
	f.Purpose, f.User, f.Namespace = c.purpose, c.user, c.namespace
	f.Key = policy.Key{Fingerprint: h.key.Fingerprint, Comment: h.key.Comment}
	f.Constraint, f.Restriction = judgeConstraint(r, h, c, now)
	if f.Violation == "" {
		f.Violation = contradiction(r, h, c)
	}
	if last := r.last(); last != nil && !last.forwarding && c.purpose == policy.Login {
		f.To = k.of(last.key)
		f.Proven = f.Violation == ""
	}
	return f
}

// contradiction returns the reason for which the data and the connection contradict each other;
// empty if they do not.
func contradiction(r route, h *held, c content) string {
	last := r.last()
	if c.purpose == policy.Login && !sameKey(c.key, h) {
		return "the login names another key than the one that is to sign"
	}
	// The web's challenges look like any data; ssh-agent has the same rule.
	if c.purpose == policy.Data && h.key.OnSecurityKey() && !strings.HasPrefix(h.key.Application, "ssh:") {
		return "a security key of a web site signs nothing here but SSH's own formats"
	}
	// A host that only forwards has no session of its own to log in to.
	if last == nil || last.forwarding {
		return ""
	}
	switch {
	case c.purpose == policy.Data:
		return "the connection is for a login, but the data is not a login"
	case c.purpose != policy.Login:
		return ""
	case !bytes.Equal(c.session, last.session):
		return "the login is for another session than the one that was bound last"
	case c.hostKey != nil && !bytes.Equal(c.hostKey, last.blob):
		return "the login names another host key than the one that was bound last"
	}
	return ""
}

// sameKey reports whether blob is the held key, or a certificate of it: ssh may
// present a certificate and have the plain key sign.
func sameKey(blob []byte, h *held) bool {
	if bytes.Equal(blob, h.key.Blob) {
		return true
	}
	key, err := ssh.ParsePublicKey(blob)
	return err == nil && identity.Fingerprint(key) == h.key.Fingerprint
}

// judgeConstraint judges a signature by the key's own destinations, and explains a refusal that
// is not obvious. The rules are exactly those of ssh-agent.
func judgeConstraint(r route, h *held, c content, now time.Time) (verdict policy.Constraint, why string) {
	last := r.last()
	switch {
	case len(h.destinations) == 0:
		return policy.Unconstrained, ""
	case last == nil, c.purpose != policy.Login, !bytes.Equal(c.key, h.key.Blob):
		return policy.Refuses, "a key with destinations only logs in, by clients that say where (ssh of OpenSSH 8.9 or newer)"
	case !permitted(h.destinations, r.binds, &c.user, now):
		return policy.Refuses, ""
	case !bytes.Equal(c.session, last.session):
		return policy.Refuses, ""
	// Beyond the first hop the data itself must name the host.
	case len(r.binds) > 1 && c.hostKey == nil:
		return policy.Refuses, noHostbound
	case c.hostKey != nil && !bytes.Equal(c.hostKey, last.blob):
		return policy.Refuses, ""
	}
	return policy.Permits, ""
}

// noHostbound is the message for a restricted key that does not work at a server other than
// OpenSSH's, such as a workspace.
const noHostbound = "a key with destinations (ssh-add -h) logs in through another host only where the server takes " +
	methodHostbound + ", which sshd of OpenSSH does since 8.9 and workspaces do not; go there directly, or use a key without destinations"

// visible reports whether the connection may know of the key.
func visible(r route, h *held, now time.Time) bool {
	if r.untrusted != "" || h.key.Expired(now) {
		return false
	}
	return permitted(h.destinations, r.binds, nil, now)
}

// offer has the facts that decide which keys are listed to a connection, at one moment.
type offer struct {
	policy *policy.Policy
	grants []policy.Grant
	canAsk bool // a user can be asked
	known  known
	now    time.Time
}

// judge reports whether the key can be of use on a connection of route r: Allow if it can. A key
// that the policy would refuse for a login there only uses up the tries that the server allows
// (MaxAuthTries of sshd_config(5)).
func (o offer) judge(r route, h *held) (policy.Facts, policy.Decision) {
	f := r.facts(policy.Sign, o.known, o.now)
	f.Key = policy.Key{Fingerprint: h.key.Fingerprint, Comment: h.key.Comment}
	last := r.last()
	if last != nil && !last.forwarding {
		f.Purpose, f.AnyUser, f.Proven, f.To = policy.Login, true, true, o.known.of(last.key)
	}
	switch {
	case !visible(r, h, o.now):
		reason := f.Violation
		if reason == "" {
			reason = "the key's time is over, or the destinations that were put on it do not include this one"
		}
		return f, policy.Decision{Rule: "built in: sight", Reason: reason}
	case f.Purpose != policy.Login:
		return f, policy.Decision{Verdict: policy.Allow}
	}
	f.Constraint = policy.Unconstrained
	if len(h.destinations) > 0 {
		f.Constraint = policy.Permits
	}
	d := o.policy.Decide(f, o.grants)
	if d.Verdict == policy.Ask {
		d.Verdict = policy.Deny
		if o.canAsk {
			d.Verdict = policy.Allow
		}
	}
	return f, d
}
