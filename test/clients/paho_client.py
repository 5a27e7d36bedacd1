"""Paho's Python client at MQTT 5: properties, reason codes, sessions. Arguments: port, user, password, user id. Ends with 0 if all is well."""
import queue
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

port, user, password, user_id = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]


class Client:
    """A client whose callbacks put what they get into queues."""

    def __init__(self, client_id, clean_start, expiry=0, will=None):
        self.connects, self.messages, self.acks, self.subscribes = (queue.Queue() for _ in range(4))
        self.mqtt = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id, protocol=mqtt.MQTTv5)
        self.mqtt.username_pw_set(user, password)
        self.mqtt.on_connect = lambda c, u, flags, reason, properties: self.connects.put((flags, reason, properties))
        self.mqtt.on_message = lambda c, u, message: self.messages.put(message)
        self.mqtt.on_publish = lambda c, u, mid, reason, properties: self.acks.put((mid, reason, properties))
        self.mqtt.on_subscribe = lambda c, u, mid, reasons, properties: self.subscribes.put(reasons)
        if will:
            self.mqtt.will_set(*will)
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = expiry
        self.mqtt.connect("127.0.0.1", port, clean_start=clean_start, properties=properties)
        self.mqtt.loop_start()
        self.flags, self.reason, self.properties = self.connects.get(timeout=10)
        assert not self.reason.is_failure, self.reason

    def subscribe(self, topic, options, properties=None):
        self.mqtt.subscribe(topic, options=options, properties=properties)
        return self.subscribes.get(timeout=10)

    def publish(self, topic, payload, qos=1, retain=False, properties=None):
        self.mqtt.publish(topic, payload, qos, retain, properties)
        return self.acks.get(timeout=10)[1]

    def take(self):
        return self.messages.get(timeout=10)

    def end(self):
        self.mqtt.disconnect()
        self.mqtt.loop_stop()


def message_properties():
    properties = Properties(PacketTypes.PUBLISH)
    properties.PayloadFormatIndicator = 1
    properties.MessageExpiryInterval = 1000
    properties.ContentType = "application/json"
    properties.ResponseTopic = "answers/here"
    properties.CorrelationData = b"\x00\x01\xff"
    properties.UserProperty = [("b", "1"), ("a", "2"), ("b", "3")]
    return properties


def check_properties(message):
    got = message.properties
    assert got.UserProperty == [("b", "1"), ("a", "2"), ("b", "3")], got.UserProperty
    assert got.ContentType == "application/json", got
    assert got.ResponseTopic == "answers/here", got
    assert got.CorrelationData == b"\x00\x01\xff", got
    assert got.PayloadFormatIndicator == 1, got
    assert 990 <= got.MessageExpiryInterval <= 1000, got


def main():
    reader = Client("paho-reader", True, 600)
    identified = Properties(PacketTypes.SUBSCRIBE)
    identified.SubscriptionIdentifier = 42
    granted = reader.subscribe("paho/#", SubscribeOptions(qos=2, retainAsPublished=True), identified)
    assert [reason.value for reason in granted] == [2], granted
    refused = reader.subscribe("users/100000001/inbox/#", SubscribeOptions(qos=1))
    assert [reason.value for reason in refused] == [0x87], refused

    writer = Client("paho-writer", True)
    for qos in (1, 2):
        assert writer.publish("paho/t", f"at {qos}", qos, properties=message_properties()).value == 0
        message = reader.take()
        assert (message.topic, message.qos) == ("paho/t", qos), message
        check_properties(message)
        assert message.properties.SubscriptionIdentifier == [42], message.properties
    assert writer.publish("nobody/reads", "x").value == 0x10
    assert writer.publish("users/999999999/inbox", "x").value == 0x90
    assert writer.publish("paho/kept", "kept", retain=True, properties=message_properties()).value == 0
    assert reader.take().retain

    reader.end()
    assert writer.publish("paho/t", "while away").value == 0
    back = Client("paho-reader", False, 600)
    assert back.flags.session_present
    assert back.take().payload == b"while away"
    back.subscribe("paho/kept", SubscribeOptions(qos=1))
    kept = back.take()
    assert kept.retain and kept.payload == b"kept", kept
    check_properties(kept)

    inbox = Client("paho-inbox", True)
    inbox.subscribe(f"users/{user_id}/inbox/#", SubscribeOptions(qos=1))
    assert writer.publish(f"users/{user_id}/inbox", "hello").value == 0
    assert b"hello" in inbox.take().payload
    for client in (back, writer, inbox):
        client.end()


main()
