"""A session as Home Assistant has it, with aiomqtt at MQTT 5: discovery, birth and will. Arguments: port, user, password."""
import asyncio
import json
import sys

import aiomqtt

port, user, password = int(sys.argv[1]), sys.argv[2], sys.argv[3]

STATUS = "homeassistant/status"
CONFIG = "homeassistant/sensor/kitchen/temperature/config"
STATE = "kitchen/temperature/state"
AVAILABLE = "kitchen/available"


def client(identifier, will):
    return aiomqtt.Client(
        "127.0.0.1",
        port,
        username=user,
        password=password,
        identifier=identifier,
        protocol=aiomqtt.ProtocolVersion.V5,
        will=will,
    )


async def next_of(messages):
    return await asyncio.wait_for(anext(messages), 10)


async def device(home_is_here, may_end):
    """Announces itself, and again when the home says that it is there."""
    async with client("kitchen", aiomqtt.Will(AVAILABLE, "offline", qos=1, retain=True)) as kitchen:
        messages = aiter(kitchen.messages)
        await kitchen.subscribe(STATUS, qos=1)
        config = {"name": "Kitchen", "state_topic": STATE, "availability_topic": AVAILABLE}
        await kitchen.publish(CONFIG, json.dumps(config), qos=1, retain=True)
        await kitchen.publish(AVAILABLE, "online", qos=1, retain=True)
        home_is_here.set()
        birth = await next_of(messages)
        assert birth.payload == b"online", birth.payload
        await kitchen.publish(STATE, "21.5", qos=0, retain=True)
        await asyncio.wait_for(may_end.wait(), 20)


async def home(may_begin, may_end):
    await asyncio.wait_for(may_begin.wait(), 10)
    async with client("home", aiomqtt.Will(STATUS, "offline", qos=0, retain=False)) as hass:
        messages = aiter(hass.messages)
        await hass.subscribe([("homeassistant/+/+/+/config", 0), ("kitchen/#", 0)])
        found = {}
        for _ in range(2):
            message = await next_of(messages)
            found[str(message.topic)] = (message.payload, message.retain)
        assert found[AVAILABLE] == (b"online", True), found
        payload, retained = found[CONFIG]
        assert retained and json.loads(payload)["state_topic"] == STATE, found
        await hass.publish(STATUS, "online", qos=1)
        state = await next_of(messages)
        assert (str(state.topic), state.payload) == (STATE, b"21.5"), state
        may_end.set()
        await hass.unsubscribe("kitchen/#")


async def main():
    home_is_here, may_end = asyncio.Event(), asyncio.Event()
    await asyncio.gather(device(home_is_here, may_end), home(home_is_here, may_end))


asyncio.run(main())
