package agent

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/identity"
	"keyway/internal/policy"
	"keyway/internal/sshwire"
)

// destination is one step that a key may be used for: from a host, or from here,
// to a host (OpenSSH's PROTOCOL.agent, restrict-destination-v00@openssh.com).
type destination struct{ from, to hop }

// hop is a host by its keys. The zero hop is this machine.
type hop struct {
	user string // pattern; empty: any
	name string
	keys []hopKey
}

type hopKey struct {
	key  ssh.PublicKey
	blob []byte
	isCA bool
}

func (h hop) isOrigin() bool { return h.name == "" && len(h.keys) == 0 }

// parseDestinations reads the contents of the constraint.
func parseDestinations(data []byte) ([]destination, error) {
	outer := sshwire.NewReader(data)
	var list []destination
	for outer.More() {
		if len(list) >= maxDestinations {
			return nil, fmt.Errorf("more than %d destinations", maxDestinations)
		}
		d, err := parseDestination(outer.String())
		if err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	if outer.Err() != nil {
		return nil, outer.Err()
	}
	if len(list) == 0 {
		return nil, errors.New("a destination constraint without destinations")
	}
	return list, nil
}

func parseDestination(data []byte) (destination, error) {
	r := sshwire.NewReader(data)
	from, to, reserved := r.String(), r.String(), r.String()
	if err := r.End(); err != nil {
		return destination{}, err
	}
	if len(reserved) != 0 {
		return destination{}, errors.New("a destination with an extension that is not known")
	}
	var d destination
	var err error
	if d.from, err = parseHop(from); err != nil {
		return destination{}, err
	}
	if d.to, err = parseHop(to); err != nil {
		return destination{}, err
	}
	switch {
	case d.from.user != "" || (d.from.name == "") != (len(d.from.keys) == 0):
		return destination{}, errors.New("a destination whose start is inconsistent")
	case d.to.name == "" || len(d.to.keys) == 0:
		return destination{}, errors.New("a destination whose end is incomplete")
	}
	return d, nil
}

func parseHop(data []byte) (hop, error) {
	r := sshwire.NewReader(data)
	h := hop{user: r.Text(), name: r.Text()}
	reserved := r.String()
	if r.Err() == nil && len(reserved) != 0 {
		return hop{}, errors.New("a host with an extension that is not known")
	}
	if len(h.user) > maxUser || len(h.name) > maxText {
		return hop{}, errors.New("a host whose name or user is too long")
	}
	for r.More() {
		if len(h.keys) >= maxHopKeys {
			return hop{}, fmt.Errorf("a host with more than %d keys", maxHopKeys)
		}
		blob, isCA := r.String(), r.Byte()
		if r.Err() != nil {
			break
		}
		key, err := identity.ParsePublic(blob)
		if err != nil {
			return hop{}, err
		}
		h.keys = append(h.keys, hopKey{key, key.Marshal(), isCA != 0})
	}
	return h, r.Err()
}

// reaches reports whether the host that key belongs to is h. A certificate counts
// where its authority was listed and it names the host.
func (h hop) reaches(key ssh.PublicKey, now time.Time) bool {
	cert, isCert := key.(*ssh.Certificate)
	blob := key.Marshal()
	for _, k := range h.keys {
		switch {
		case !isCert && !k.isCA && bytes.Equal(k.blob, blob):
			return true
		case isCert && k.isCA && bytes.Equal(k.blob, cert.SignatureKey.Marshal()) && certifies(cert, h.name, now):
			return true
		}
	}
	return false
}

// certifies reports whether a host certificate is valid for the name. One without
// principals is for no host: an empty list means nobody.
func certifies(cert *ssh.Certificate, name string, now time.Time) bool {
	if cert.CertType != ssh.HostCert || cert.Signature == nil || cert.Signature.Format == ssh.KeyAlgoRSA {
		return false
	}
	checker := ssh.CertChecker{Clock: func() time.Time { return now }}
	for _, principal := range cert.ValidPrincipals {
		// A principal may be a pattern such as *.lab (OpenSSH's match_pattern).
		if policy.Match(strings.ToLower(principal), strings.ToLower(name)) {
			return checker.CheckCert(principal, cert) == nil
		}
	}
	return false
}

// allows reports whether one of the destinations is the step from a host (nil: from
// here) to a host (nil: to any) as a user (nil: not known yet).
func allows(list []destination, from, to ssh.PublicKey, user *string, now time.Time) bool {
	for _, d := range list {
		switch {
		case from == nil && !d.from.isOrigin():
		case from != nil && (d.from.isOrigin() || !d.from.reaches(from, now)):
		case to != nil && !d.to.reaches(to, now):
		case user != nil && d.to.user != "" && !policy.Match(d.to.user, *user):
		default:
			return true
		}
	}
	return false
}

// permitted reports whether a key with these destinations may be used over a connection: every step
// on its route must be one of them. user is nil if the question is only whether to list the key;
// then a connection that forwards needs a further destination.
func permitted(list []destination, binds []bind, user *string, now time.Time) bool {
	if len(list) == 0 || len(binds) == 0 {
		return true
	}
	var from ssh.PublicKey
	for i, b := range binds {
		last := i == len(binds)-1
		if !last && !b.forwarding || last && b.forwarding && user != nil {
			return false
		}
		var who *string
		if last {
			who = user
		}
		if !allows(list, from, b.key, who, now) {
			return false
		}
		from = b.key
	}
	return !binds[len(binds)-1].forwarding || allows(list, from, nil, nil, now)
}
