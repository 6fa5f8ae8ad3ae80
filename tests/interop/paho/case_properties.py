"""Properties of 5.0 that the broker hands on, and codes that it answers with."""

from bench import case, equal


@case("v5")
def user_properties_keep_their_order(b):
    subscriber, publisher = b.subscriber("u"), b.client()
    pairs = [("z", "1"), ("a", "2"), ("z", "1"), ("", ""), ("名", "值"), ("a", "0")]
    publisher.publish("u", "x", UserProperty=pairs)
    equal(subscriber.take()[0].properties.UserProperty, pairs, "user properties")


@case("v5")
def publish_properties_are_forwarded(b):
    subscriber, publisher = b.subscriber("p"), b.client()
    publisher.publish("p", "x", retain=True, PayloadFormatIndicator=1, ContentType="text/plain",
                      ResponseTopic="answer/here", CorrelationData=b"\0\xff")
    for found in (subscriber.take()[0].properties, b.subscriber("p").take()[0].properties):
        equal((found.PayloadFormatIndicator, found.ContentType, found.ResponseTopic, found.CorrelationData),
              (1, "text/plain", "answer/here", b"\0\xff"), "properties")


@case("v5")
def request_response(b):
    server, client = b.subscriber("request"), b.subscriber("answer/client")
    client.publish("request", "6 * 7", ResponseTopic="answer/client", CorrelationData=b"first")
    request = server.take()[0]
    server.publish(request.properties.ResponseTopic, "42", CorrelationData=request.properties.CorrelationData)
    answer = client.take()[0]
    equal((answer.payload, answer.properties.CorrelationData), (b"42", b"first"), "answer")


@case("v5")
def nobody_subscribes(b):
    publisher = b.client()
    equal(publisher.publish("nobody", qos=1), 0x10, "code of PUBACK")
    b.subscriber("somebody")
    equal(publisher.publish("somebody", qos=1), 0, "code of PUBACK")
