package agent

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/identity"
	"keyway/internal/sshwire"
)

// constraints are the constraints with which a key was added.
type constraints struct {
	lifetime     time.Duration // 0: none
	confirm      bool
	maxSigns     uint32 // 0: any number
	destinations []destination
	restriction  []byte // the destinations as they came
	provider     string // of a security key
	certs        []*ssh.Certificate
	certsOnly    bool
	forCard      bool // which extensions may come
}

// parseConstraints reads to the end of r. An unknown constraint is an error: a key must never be
// held with fewer constraints than requested.
func parseConstraints(r *sshwire.Reader, forCard bool) (constraints, error) {
	c := constraints{forCard: forCard}
	seen := map[string]bool{}
	for r.More() {
		name, err := c.parseOne(r)
		if err != nil {
			return constraints{}, err
		}
		if seen[name] {
			return constraints{}, fmt.Errorf("the constraint %s twice", name)
		}
		seen[name] = true
	}
	return c, r.Err()
}

func (c *constraints) parseOne(r *sshwire.Reader) (name string, err error) {
	switch kind := r.Byte(); kind {
	case constrainLifetime:
		name = "lifetime"
		c.lifetime = time.Duration(r.Uint32()) * time.Second
		if r.Err() == nil && c.lifetime == 0 {
			c.lifetime = 1 // it has ended already, which is not the same as none
		}
	case constrainConfirm:
		name, c.confirm = "confirm", true
	case constrainMaxSigns:
		name, c.maxSigns = "max-signatures", r.Uint32()
		if c.maxSigns == 0 {
			err = errors.New("a key for no signatures at all")
		}
	case constrainExtension:
		name = r.Text()
		err = c.parseExtension(r, name)
	default:
		err = fmt.Errorf("a constraint %d that is not known", kind)
	}
	if err == nil {
		err = r.Err()
	}
	return name, err
}

func (c *constraints) parseExtension(r *sshwire.Reader, name string) (err error) {
	switch {
	case name == extRestrict:
		data := r.String()
		if r.Err() == nil {
			c.restriction = bytes.Clone(data)
			c.destinations, err = parseDestinations(c.restriction)
		}
	case name == extSKProvider && !c.forCard:
		if c.provider = r.Text(); len(c.provider) > maxText {
			err = errors.New("a provider whose path is too long")
		}
	case name == extAssociatedCerts && c.forCard:
		c.certsOnly = r.Byte() != 0
		data := r.String()
		if r.Err() == nil {
			c.certs, err = parseCerts(data)
		}
	default:
		err = fmt.Errorf("a constraint %.64q that is not known here", name)
	}
	return err
}

func parseCerts(data []byte) ([]*ssh.Certificate, error) {
	r := sshwire.NewReader(data)
	var certs []*ssh.Certificate
	for r.More() {
		if len(certs) >= maxCerts {
			return nil, fmt.Errorf("more than %d certificates", maxCerts)
		}
		blob := r.String()
		if r.Err() != nil {
			break
		}
		key, err := identity.ParsePublic(blob)
		if err != nil {
			return nil, err
		}
		if cert, ok := key.(*ssh.Certificate); ok {
			certs = append(certs, cert)
		}
	}
	return certs, r.Err()
}
