package agentd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"keyway/internal/dirs"
	"keyway/internal/keyway"
	"keyway/internal/policy"
)

// policyFile is a policy that follows its file. A file that is wrong at the start
// is an error; one that becomes wrong leaves the last good policy in force. One that cannot be
// read is tried again at every request.
type policyFile struct {
	path    string // empty: the policy does not change
	news    io.Writer
	changed func(reason string)

	mu     sync.Mutex
	policy *policy.Policy
	stamp  string
	failed string // why the file could not be read the last time, which was told
}

func openPolicy(what string, news io.Writer) (*policyFile, error) {
	switch what {
	case "openssh":
		return &policyFile{policy: policy.OpenSSH()}, nil
	case "standard":
		return &policyFile{policy: policy.Standard()}, nil
	}
	f := &policyFile{path: what, news: news}
	if what == "" {
		path, err := dirs.Policy()
		if err != nil {
			return nil, err
		}
		f.path = path
	} else if _, err := os.Stat(what); err != nil {
		return nil, keyway.Errorf(keyway.BadConfig, "the policy cannot be read: %w", err).Advise(keyway.PolicyForms)
	}
	f.stamp = keyway.FileStamp(f.path)
	var err error
	f.policy, err = policy.Open(f.path)
	return f, err
}

// check reports whether the file could be read at a start.
func (f *policyFile) check() error {
	if f.path == "" {
		return nil
	}
	_, err := policy.Read(f.path)
	return err
}

// current returns the policy in force.
func (f *policyFile) current() *policy.Policy {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.path == "" {
		return f.policy
	}
	stamp := keyway.FileStamp(f.path)
	if stamp == f.stamp {
		return f.policy
	}
	reason := "read anew: " + f.path
	p, err := policy.Read(f.path)
	if unread := (*fs.PathError)(nil); !errors.As(err, &unread) {
		f.stamp, f.failed = stamp, ""
	} else if f.failed == err.Error() {
		return f.policy
	} else {
		f.failed = err.Error()
	}
	if err != nil {
		reason = "the last good policy stays: " + err.Error()
		fmt.Fprintf(f.news, "keyway agent: %s\n", reason)
	} else {
		f.policy = p
	}
	if f.changed != nil {
		f.changed(reason)
	}
	return f.policy
}
