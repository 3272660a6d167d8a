package plugin

import "net/http"

// Authenticate makes the owner of a credential the exchange's consumer and tells the
// upstream who it is. Headers of these names that the client sent are gone.
// identifier is what stands for the credential: Kong 3.9.1 sends the id of an API key, the
// username of basic-auth and hmac-auth, the key of jwt.
func Authenticate(x *Exchange, c *Credential, identifier string) {
	x.Credential = c
	tellConsumer(x, c.Consumer)
	tell(x, "X-Credential-Identifier", identifier)
	x.Request.Header.Del("X-Anonymous-Consumer")
}

// Anonymous makes the consumer named by a filter's "anonymous" setting stand for a client
// that did not authenticate. An unknown one is a broken configuration: 500, as in Kong.
func Anonymous(x *Exchange, idOrName string) Verdict {
	c := x.Directory.Consumer(idOrName)
	if c == nil {
		return Deny(http.StatusInternalServerError, "").Because("anonymous-consumer-missing")
	}
	tellConsumer(x, c)
	x.Credential = nil
	x.Request.Header.Del("X-Credential-Identifier")
	x.Request.Header.Set("X-Anonymous-Consumer", "true")
	return Next
}

// Authenticated reports whether an earlier filter knows the client already: filters with an
// "anonymous" setting are then satisfied (a logical or of several of them).
func Authenticated(x *Exchange, anonymous string) bool {
	return anonymous != "" && x.Credential != nil
}

func tellConsumer(x *Exchange, c *Consumer) {
	x.Consumer = c
	if c == nil {
		c = &nobody
	}
	tell(x, "X-Consumer-ID", c.ID)
	tell(x, "X-Consumer-Custom-ID", c.CustomID)
	tell(x, "X-Consumer-Username", c.Username)
}

// nobody stands for the consumer of a credential whose consumer is not there.
var nobody Consumer

// tell sets a header of the upstream's request, or clears what the client sent for it.
func tell(x *Exchange, name, value string) {
	if value == "" {
		x.Request.Header.Del(name)
		return
	}
	x.Request.Header.Set(name, value)
}
