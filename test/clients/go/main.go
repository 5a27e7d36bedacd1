// Paho's Go client (autopaho) at MQTT 5: properties, reason codes, a session that outlives its connection, the inbox.
// Version 0.12 is the last one that Go 1.19 builds, which is Debian 12's.
// Arguments: port, user, password, user id. Ends with 0 if all is well.
package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"
)

var port, user, password, userID = os.Args[1], os.Args[2], os.Args[3], os.Args[4]

func must(what string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		os.Exit(1)
	}
}

func want(what string, got, wanted any) {
	if fmt.Sprint(got) != fmt.Sprint(wanted) {
		must(what, fmt.Errorf("got %v, not %v", got, wanted))
	}
}

type client struct {
	ctx      context.Context
	manager  *autopaho.ConnectionManager
	connacks chan *paho.Connack
	messages chan *paho.Publish
	// wire is the connection of now.
	wire net.Conn
}

// next ends the program where nothing comes in time.
func next[T any](ctx context.Context, what string, from chan T) (one T) {
	select {
	case one = <-from:
	case <-ctx.Done():
		must(what, ctx.Err())
	}
	return
}

func connect(ctx context.Context, id string) *client {
	server, err := url.Parse("mqtt://127.0.0.1:" + port)
	must("url", err)
	c := &client{ctx: ctx, connacks: make(chan *paho.Connack, 10), messages: make(chan *paho.Publish, 100)}
	config := autopaho.ClientConfig{
		BrokerUrls:        []*url.URL{server},
		KeepAlive:         20,
		ConnectRetryDelay: 10 * time.Millisecond,
		AttemptConnection: func(_ context.Context, _ autopaho.ClientConfig, at *url.URL) (net.Conn, error) {
			wire, err := net.Dial("tcp", at.Host)
			c.wire = wire
			return wire, err
		},
		OnConnectionUp: func(_ *autopaho.ConnectionManager, connack *paho.Connack) { c.connacks <- connack },
		OnConnectError: func(err error) { must("connect", err) },
		ClientConfig: paho.ClientConfig{
			ClientID: id,
			Router:   paho.NewSingleHandlerRouter(func(message *paho.Publish) { c.messages <- message }),
		},
	}
	config.SetUsernamePassword(user, []byte(password))
	isFirst, expiry := true, uint32(60)
	config.SetConnectPacketConfigurator(func(packet *paho.Connect) *paho.Connect {
		packet.CleanStart = isFirst
		packet.Properties = &paho.ConnectProperties{SessionExpiryInterval: &expiry}
		isFirst = false
		return packet
	})
	c.manager, err = autopaho.NewConnection(ctx, config)
	must("connection", err)
	return c
}

// subscribe returns the reason code.
func (c *client) subscribe(topic string, qos byte, properties *paho.SubscribeProperties) byte {
	suback, err := c.manager.Subscribe(c.ctx, &paho.Subscribe{
		Properties:    properties,
		Subscriptions: []paho.SubscribeOptions{{Topic: topic, QoS: qos, RetainAsPublished: true}},
	})
	if suback == nil {
		must("subscribe", err)
	}
	return suback.Reasons[0]
}

// publish returns the reason code; Paho tells of a failure by an error, too.
func (c *client) publish(packet *paho.Publish) byte {
	response, err := c.manager.Publish(c.ctx, packet)
	if response == nil {
		must("publish", err)
	}
	return response.ReasonCode
}

func properties() *paho.PublishProperties {
	format, expiry := byte(1), uint32(1000)
	return &paho.PublishProperties{
		PayloadFormat:   &format,
		MessageExpiry:   &expiry,
		ContentType:     "application/json",
		ResponseTopic:   "answers/here",
		CorrelationData: []byte{0, 1, 255},
		User:            paho.UserProperties{{Key: "b", Value: "1"}, {Key: "a", Value: "2"}, {Key: "b", Value: "3"}},
	}
}

func check(message *paho.Publish, topic, payload string, qos byte) {
	want("topic", message.Topic, topic)
	want("payload", string(message.Payload), payload)
	want("QoS", message.QoS, qos)
	got, sent := message.Properties, properties()
	want("user properties", got.User, sent.User)
	want("content type", got.ContentType, sent.ContentType)
	want("response topic", got.ResponseTopic, sent.ResponseTopic)
	want("correlation data", bytes.Equal(got.CorrelationData, sent.CorrelationData), true)
	want("payload format", *got.PayloadFormat, 1)
	want("message expiry", *got.MessageExpiry > 990 && *got.MessageExpiry <= 1000, true)
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	reader, writer := connect(ctx, "go-reader"), connect(ctx, "go-writer")
	want("session present", next(ctx, "CONNACK", reader.connacks).SessionPresent, false)
	next(ctx, "CONNACK", writer.connacks)

	identifier := 42
	want("granted", reader.subscribe("go/#", 2, &paho.SubscribeProperties{SubscriptionIdentifier: &identifier}), 2)
	want("refused", reader.subscribe("users/100000001/inbox/#", 1, nil), 0x87)
	for qos := byte(1); qos <= 2; qos++ {
		payload := fmt.Sprintf("at %d", qos)
		packet := &paho.Publish{Topic: "go/t", QoS: qos, Payload: []byte(payload), Properties: properties()}
		want("published", writer.publish(packet), 0)
		message := next(ctx, payload, reader.messages)
		check(message, "go/t", payload, qos)
		want("subscription identifier", *message.Properties.SubscriptionIdentifier, identifier)
	}
	want("nobody reads", writer.publish(&paho.Publish{Topic: "nobody/reads", QoS: 1}), 0x10)
	want("nobody there", writer.publish(&paho.Publish{Topic: "users/999999999/inbox", QoS: 1, Payload: []byte("x")}), 0x90)

	// autopaho connects again by itself, and finds its session.
	must("break", reader.wire.Close())
	want("session present", next(ctx, "CONNACK after the break", reader.connacks).SessionPresent, true)
	want("published", writer.publish(&paho.Publish{Topic: "go/back", QoS: 1, Payload: []byte("back"), Properties: properties()}), 0)
	check(next(ctx, "message after the break", reader.messages), "go/back", "back", 1)

	want("inbox", reader.subscribe("users/"+userID+"/inbox/#", 1, nil), 1)
	want("sent", writer.publish(&paho.Publish{Topic: "users/" + userID + "/inbox", QoS: 1, Payload: []byte("hello")}), 0)
	want("inbox message", bytes.Contains(next(ctx, "inbox", reader.messages).Payload, []byte("hello")), true)

	must("disconnect", reader.manager.Disconnect(ctx))
	must("disconnect", writer.manager.Disconnect(ctx))
}
