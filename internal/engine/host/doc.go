// Package host runs workspaces as plain processes of the user at the place, for
// machines that have no container engine or do not let the user at it. Such a
// workspace isolates nothing: it is the machine as its user sees it, with a
// guest and sessions that outlive every connection. It needs Linux.
package host
