"""Reads a description of a Query service inside botocore into the values of `description.py`."""

from __future__ import annotations

from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel, Shape

from client_proxy.doors.s3.protocol.service_model import members_of
from client_proxy.doors.s3.query.description import MemberBounds, QueryOperation, QueryService


def read_service(name: str) -> QueryService:
    """Every operation of the service `name`."""
    model = ServiceModel(Loader().load_service_model(name, "service-2"))
    operations = {one: _operation(name, model.operation_model(one)) for one in model.operation_names}
    return QueryService(model.metadata["apiVersion"], model.metadata["xmlNamespace"], operations)


def _operation(service: str, model: OperationModel) -> QueryOperation:
    given, answered = model.input_shape, model.output_shape
    return QueryOperation(
        service=service,
        name=model.name,
        input=members_of(given) if given else (),
        output=members_of(answered) if answered else (),
        wrapper=answered.serialization.get("resultWrapper", "") if answered else "",
        bounds={name: _bounds(shape) for name, shape in given.members.items()} if given else {},
    )


def _bounds(shape: Shape) -> MemberBounds:
    facts = shape.metadata
    return MemberBounds(facts.get("min"), facts.get("max"), facts.get("pattern", ""))
