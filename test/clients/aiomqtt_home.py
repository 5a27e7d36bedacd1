"""A session as Home Assistant has it, with aiomqtt at MQTT 5: discovery, birth and will, and a home that crashes and starts again.
Arguments: port, user, password, user id, and `found` where the device has been announced to a server that was started again since."""
import asyncio
import json
import socket
import sys

import aiomqtt

port, user, password = int(sys.argv[1]), sys.argv[2], sys.argv[3]
is_found = sys.argv[5:] == ["found"]

STATUS = "homeassistant/status"
CONFIG = "homeassistant/sensor/kitchen/temperature/config"
STATE = "kitchen/temperature/state"
AVAILABLE = "kitchen/available"
DISCOVERY = [("homeassistant/+/+/+/config", 0), ("kitchen/#", 0)]


class Client:
    """A client that may break off."""

    def __init__(self, identifier, will):
        self.mqtt = aiomqtt.Client(
            "127.0.0.1",
            port,
            username=user,
            password=password,
            identifier=identifier,
            protocol=aiomqtt.ProtocolVersion.V5,
            will=will,
        )

    async def __aenter__(self):
        await self.mqtt.__aenter__()
        self.messages = aiter(self.mqtt.messages)
        return self

    async def __aexit__(self, *failure):
        return await self.mqtt.__aexit__(*failure)

    async def next(self):
        message = await asyncio.wait_for(anext(self.messages), 10)
        return str(message.topic), message.payload, message.retain

    async def next_of(self, count):
        """The next messages, by topic."""
        return {topic: rest for topic, *rest in [await self.next() for _ in range(count)]}

    async def crash(self):
        """The connection ends without DISCONNECT."""
        self.mqtt._client.socket().shutdown(socket.SHUT_RDWR)
        try:
            await asyncio.wait_for(anext(self.messages), 10)
        except aiomqtt.MqttError:
            return
        raise AssertionError("a message after the end of the connection")


def home():
    return Client("home", aiomqtt.Will(STATUS, "offline", qos=0, retain=False))


def device():
    return Client("kitchen", aiomqtt.Will(AVAILABLE, "offline", qos=1, retain=True))


async def crashed(client):
    """Breaks off, and leaves what is around it as if it had ended well."""
    await client.crash()
    try:
        await client.__aexit__(None, None, None)
    except aiomqtt.MqttError:
        pass


async def announce(kitchen):
    await kitchen.mqtt.subscribe(STATUS, qos=1)
    config = {"name": "Kitchen", "state_topic": STATE, "availability_topic": AVAILABLE}
    await kitchen.mqtt.publish(CONFIG, json.dumps(config), qos=1, retain=True)
    await kitchen.mqtt.publish(AVAILABLE, "online", qos=1, retain=True)


def check_config(found):
    payload, retained = found[CONFIG]
    assert retained and json.loads(payload)["state_topic"] == STATE, found


async def birth(hass, kitchen):
    """The home tells that it is there, and the device sends what it measures."""
    await hass.mqtt.publish(STATUS, "online", qos=1)
    assert await kitchen.next() == (STATUS, b"online", False)
    await kitchen.mqtt.publish(STATE, "21.5", qos=0, retain=True)
    assert await hass.next() == (STATE, b"21.5", False)


async def first_time():
    kitchen = await device().__aenter__()
    await announce(kitchen)
    hass = await home().__aenter__()
    await hass.mqtt.subscribe(DISCOVERY)
    found = await hass.next_of(2)
    check_config(found)
    assert found[AVAILABLE] == [b"online", True], found
    await birth(hass, kitchen)
    # The home crashes: its device is told, and the home finds all of it when it is back.
    await crashed(hass)
    assert await kitchen.next() == (STATUS, b"offline", False)
    async with home() as hass:
        await hass.mqtt.subscribe(DISCOVERY)
        found = await hass.next_of(3)
        check_config(found)
        assert found[AVAILABLE] == [b"online", True], found
        assert found[STATE] == [b"21.5", True], found
        await birth(hass, kitchen)
        # The device breaks off: the home is told.
        await crashed(kitchen)
        assert await hass.next() == (AVAILABLE, b"offline", False)
        await hass.mqtt.unsubscribe("kitchen/#")


async def again():
    """What was retained before the server was started again is there, the will of the device with it."""
    async with home() as hass:
        await hass.mqtt.subscribe(DISCOVERY)
        found = await hass.next_of(3)
        check_config(found)
        assert found[AVAILABLE] == [b"offline", True], found
        assert found[STATE] == [b"21.5", True], found
        async with device() as kitchen:
            await announce(kitchen)
            renewed = await hass.next_of(2)
            assert renewed[AVAILABLE] == [b"online", False], renewed
            await birth(hass, kitchen)


asyncio.run(again() if is_found else first_time())
