package keyway

import (
	"strings"
	"time"
)

// Adoption is a request for a workspace in a running container that keyway has not made. The zero
// Adoption is refused.
type Adoption struct {
	Name   Name   `json:"name"`
	Engine string `json:"engine,omitempty"` // empty: the first engine that has the container
	// Container is the container's name, or its ID or the beginning of that.
	Container string `json:"container"`
	// User is a user or uid[:gid] of the container; empty: the one its first process
	// was started as.
	User string `json:"user,omitempty"`
	Access
}

// Validate returns an error for the user if a is invalid.
func (a Adoption) Validate() error {
	if err := CheckContainer(a.Container); err != nil {
		return err
	}
	return a.Spec().Validate()
}

// Spec returns the requested part of the workspace's Spec. The rest is the container's.
func (a Adoption) Spec() Spec {
	return Spec{Name: a.Name, Engine: a.Engine, Access: a.Access, Process: Process{User: a.User}}
}

// maxContainerName bounds the name of a container in bytes.
const maxContainerName = 255

// CheckContainer returns the fault of a container's name or ID: engines take letters, digits, '.',
// '_' and '-', beginning with a letter or a digit.
func CheckContainer(name string) error {
	for i, r := range name {
		alnum := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !alnum && (i == 0 || !strings.ContainsRune("._-", r)) {
			return Errorf(Usage, "%.80q cannot be the name or ID of a container", name).Advise(SeeContainers)
		}
	}
	if name == "" || len(name) > maxContainerName {
		return Errorf(Usage, "a container has a name of 1 to %d bytes", maxContainerName).Advise(SeeContainers)
	}
	return nil
}

// IsContainerID reports whether text is the whole ID of a container.
func IsContainerID(text string) bool {
	return len(text) == 64 && strings.Trim(text, "0123456789abcdef") == ""
}

// Container is a running container at a place that was not made as a workspace. All texts come
// from its maker.
type Container struct {
	Engine  string    `json:"engine"`
	Name    string    `json:"name"`
	ID      string    `json:"id"`
	Image   string    `json:"image"`
	Created time.Time `json:"created"`
	// Workspace is that of this user in it; empty: none.
	Workspace Name `json:"workspace,omitempty"`
	// Unclear is the reason why it is not known which workspace of this user is in it, if one is.
	Unclear string `json:"unclear,omitempty"`
}
