// Package identity holds the keys of an agent. A private key arrives in the form
// of RFC 9987 section 3.2, is checked against its public half, and is kept in
// memory that is locked, left out of core dumps and overwritten when the key
// goes. It is taken from there for each signature and never leaves the package.
//
// Go's cryptography works on the heap, which the collector may leave traces of
// keys in until it reuses them; the agent's process therefore must not be
// dumpable or traceable. Keys on security keys and smart cards are used through
// OpenSSH's own helper programs, so a vendor's library never runs in the agent.
package identity
